"""What a certificate says of itself, read by libcrypto, in the words that Envoy shows it in.

A certificate is parsed once (`parse`), its fields at the first use; bytes that are no certificate are a ValueError.
Text that is no UTF-8 keeps its bytes as surrogates.
"""
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint32_t
from libc.time cimport tm as c_tm

import calendar
import hashlib
import socket
import ssl

cdef extern from "openssl/x509v3.h" nogil:
    ctypedef struct X509:
        pass
    ctypedef struct X509_NAME:
        pass
    ctypedef struct X509_EXTENSION:
        pass
    ctypedef struct BIO:
        pass
    ctypedef struct BIO_METHOD:
        pass
    ctypedef struct BIGNUM:
        pass
    ctypedef struct ASN1_INTEGER:
        pass
    ctypedef struct ASN1_OBJECT:
        pass
    ctypedef struct ASN1_TIME:
        pass
    ctypedef struct ASN1_STRING:
        pass
    ctypedef struct ASN1_TYPE:
        int type
        # Members of the union `value`.
        int boolean "value.boolean"
        ASN1_STRING* string "value.asn1_string"
        ASN1_OBJECT* object "value.object"
        ASN1_INTEGER* integer "value.integer"
    ctypedef struct other_name "OTHERNAME":
        ASN1_OBJECT* type_id
        ASN1_TYPE* value
    ctypedef struct GENERAL_NAME:
        int type
        # Members of the union `d`.
        ASN1_STRING* string "d.ia5"
        ASN1_STRING* ip "d.ip"
        other_name* other "d.otherName"
    ctypedef struct GENERAL_NAMES:
        pass
    ctypedef struct X509_PUBKEY:
        pass

    X509* d2i_X509(X509** target, const unsigned char** data, long length)
    void X509_free(X509* certificate)
    X509_NAME* X509_get_subject_name(const X509* certificate)
    X509_NAME* X509_get_issuer_name(const X509* certificate)
    ASN1_INTEGER* X509_get_serialNumber(X509* certificate)
    const ASN1_TIME* X509_get0_notBefore(const X509* certificate)
    const ASN1_TIME* X509_get0_notAfter(const X509* certificate)
    int ASN1_TIME_to_tm(const ASN1_TIME* time, c_tm* broken_down)
    int X509_NAME_print_ex(BIO* out, const X509_NAME* name, int indent, unsigned long flags)
    void* X509_get_ext_d2i(const X509* certificate, int nid, int* critical, int* index)
    int X509_get_ext_count(const X509* certificate)
    X509_EXTENSION* X509_get_ext(const X509* certificate, int index)
    ASN1_OBJECT* X509_EXTENSION_get_object(X509_EXTENSION* extension)
    int OBJ_obj2txt(char* target, int size, const ASN1_OBJECT* object, int numeric)
    ASN1_OBJECT* OBJ_txt2obj(const char* text, int numeric)
    void ASN1_OBJECT_free(ASN1_OBJECT* object)
    X509_PUBKEY* X509_get_X509_PUBKEY(const X509* certificate)
    int i2d_X509_PUBKEY(const X509_PUBKEY* key, unsigned char** out)
    uint32_t X509_get_extension_flags(X509* certificate)
    uint32_t X509_get_key_usage(X509* certificate)
    int GENERAL_NAME_count "sk_GENERAL_NAME_num" (const GENERAL_NAMES* names)
    GENERAL_NAME* GENERAL_NAME_at "sk_GENERAL_NAME_value" (const GENERAL_NAMES* names, int index)
    void GENERAL_NAMES_free(GENERAL_NAMES* names)
    const unsigned char* ASN1_STRING_get0_data(const ASN1_STRING* text)
    int ASN1_STRING_length(const ASN1_STRING* text)
    int ASN1_STRING_to_UTF8(unsigned char** out, const ASN1_STRING* text)
    BIGNUM* ASN1_INTEGER_to_BN(const ASN1_INTEGER* number, BIGNUM* target)
    BIGNUM* ASN1_ENUMERATED_to_BN(const ASN1_INTEGER* number, BIGNUM* target)
    char* BN_bn2hex(const BIGNUM* number)
    char* BN_bn2dec(const BIGNUM* number)
    void BN_free(BIGNUM* number)
    void OPENSSL_free(void* memory)
    BIO* BIO_new(const BIO_METHOD* method)
    const BIO_METHOD* BIO_s_mem()
    long BIO_get_mem_data(BIO* bio, char** data)
    int BIO_free(BIO* bio)
    enum:
        NID_subject_alt_name
        GEN_OTHERNAME
        GEN_EMAIL
        GEN_DNS
        GEN_URI
        GEN_IPADD
        V_ASN1_NULL
        V_ASN1_BOOLEAN
        V_ASN1_INTEGER
        V_ASN1_ENUMERATED
        V_ASN1_OBJECT
        V_ASN1_BMPSTRING
        V_ASN1_UNIVERSALSTRING
        EXFLAG_CA
        KU_KEY_CERT_SIGN
        KU_CRL_SIGN
    unsigned long XN_FLAG_RFC2253

cdef extern from "openssl/err.h" nogil:
    void ERR_clear_error()

cdef enum:
    LONGEST_OID = 256

DNS = GEN_DNS
URI = GEN_URI
EMAIL = GEN_EMAIL
IP = GEN_IPADD
OTHERNAME = GEN_OTHERNAME


cdef str text_of(const char* data, Py_ssize_t length):
    return PyBytes_FromStringAndSize(data, length).decode("utf-8", "surrogateescape")


cdef str string_text(const ASN1_STRING* value):
    return text_of(<const char*> ASN1_STRING_get0_data(value), ASN1_STRING_length(value))


cdef str wide_text(const ASN1_STRING* value):
    """Of BMP and universal strings, up to their first NUL."""
    cdef unsigned char* out = NULL
    cdef int length = ASN1_STRING_to_UTF8(&out, value)
    if length < 0:
        return ""
    try:
        return text_of(<const char*> out, length).partition("\0")[0]
    finally:
        OPENSSL_free(out)


cdef str number_text(BIGNUM* number, bint hexadecimal):
    """Of a number that is freed."""
    cdef char* digits
    if number == NULL:
        return ""
    digits = BN_bn2hex(number) if hexadecimal else BN_bn2dec(number)
    BN_free(number)
    if digits == NULL:
        return ""
    try:
        return (<bytes> digits).decode("ascii")
    finally:
        OPENSSL_free(digits)


cdef str object_text(const ASN1_OBJECT* value):
    cdef char[256] target
    cdef int length = OBJ_obj2txt(target, LONGEST_OID, value, 1)
    return text_of(target, length) if 0 < length < LONGEST_OID else ""


cdef str other_name_text(const other_name* name):
    cdef const ASN1_TYPE* value = name.value
    if value == NULL or value.type == V_ASN1_NULL:
        return ""
    if value.type == V_ASN1_BOOLEAN:
        return "true" if value.boolean else "false"
    if value.type == V_ASN1_INTEGER:
        return number_text(ASN1_INTEGER_to_BN(value.integer, NULL), False)
    if value.type == V_ASN1_ENUMERATED:
        return number_text(ASN1_ENUMERATED_to_BN(value.integer, NULL), False)
    if value.type == V_ASN1_OBJECT:
        return object_text(value.object)
    if value.type == V_ASN1_BMPSTRING or value.type == V_ASN1_UNIVERSALSTRING:
        return wide_text(value.string)
    return string_text(value.string)


cdef str name_text(const GENERAL_NAME* name):
    cdef bytes packed
    if name.type == GEN_OTHERNAME:
        return other_name_text(name.other)
    if name.type == GEN_IPADD:
        packed = PyBytes_FromStringAndSize(
            <const char*> ASN1_STRING_get0_data(name.ip), ASN1_STRING_length(name.ip)
        )
        if len(packed) not in (4, 16):
            return ""
        return socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed)
    return string_text(name.string)


cdef str distinguished_name(const X509_NAME* name):
    """RFC 2253, on one line."""
    cdef BIO* out = BIO_new(BIO_s_mem())
    cdef char* data = NULL
    cdef long length
    if out == NULL:
        raise MemoryError
    try:
        X509_NAME_print_ex(out, name, 0, XN_FLAG_RFC2253)
        length = BIO_get_mem_data(out, &data)
        return text_of(data, length) if length > 0 else ""
    finally:
        BIO_free(out)


cdef long seconds_of(const ASN1_TIME* time) except? -1:
    cdef c_tm parts
    if not ASN1_TIME_to_tm(time, &parts):
        ERR_clear_error()
        return 0
    return calendar.timegm((parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday,
                            parts.tm_hour, parts.tm_min, parts.tm_sec))


def object_identifier(str text not None):
    """The numbers of an OID that is given so, or by a name that libcrypto knows; empty when it is none."""
    cdef ASN1_OBJECT* found = OBJ_txt2obj(text.encode(), 0)
    if found == NULL:
        ERR_clear_error()
        return ""
    try:
        return object_text(found)
    finally:
        ASN1_OBJECT_free(found)


cdef class Certificate:
    """One X.509 certificate; every fact is found at its first use and kept."""
    cdef X509* x509
    cdef readonly bytes der
    cdef str _subject, _issuer, _serial, _sha256, _sha1, _pem
    cdef dict _names
    cdef tuple _oids, _alternative_names

    def __init__(self, bytes der not None):
        cdef const unsigned char* data = <const unsigned char*> der
        self.x509 = d2i_X509(NULL, &data, len(der))
        if self.x509 == NULL or data != <const unsigned char*> der + len(der):
            ERR_clear_error()
            raise ValueError("not a certificate")
        self.der = der

    def __dealloc__(self):
        if self.x509 != NULL:
            X509_free(self.x509)

    @property
    def subject(self):
        """Its subject (RFC 2253)."""
        if self._subject is None:
            self._subject = distinguished_name(X509_get_subject_name(self.x509))
        return self._subject

    @property
    def issuer(self):
        """Its issuer, likewise."""
        if self._issuer is None:
            self._issuer = distinguished_name(X509_get_issuer_name(self.x509))
        return self._issuer

    @property
    def serial(self):
        """Its serial number, hex in lower case."""
        if self._serial is None:
            self._serial = number_text(ASN1_INTEGER_to_BN(X509_get_serialNumber(self.x509), NULL), True).lower()
        return self._serial

    @property
    def not_before(self):
        """From when on it is valid: seconds since the epoch."""
        return seconds_of(X509_get0_notBefore(self.x509))

    @property
    def not_after(self):
        """Until when it is valid: seconds since the epoch."""
        return seconds_of(X509_get0_notAfter(self.x509))

    @property
    def sha256(self):
        """Digest of the whole, hex."""
        if self._sha256 is None:
            self._sha256 = hashlib.sha256(self.der).hexdigest()
        return self._sha256

    @property
    def sha1(self):
        """Digest of the whole, hex."""
        if self._sha1 is None:
            self._sha1 = hashlib.sha1(self.der, usedforsecurity=False).hexdigest()
        return self._sha1

    @property
    def pem(self):
        """The whole as PEM."""
        if self._pem is None:
            self._pem = ssl.DER_cert_to_PEM_cert(self.der)
        return self._pem

    def names(self, int kind):
        """Its subject alternative names of a kind: DNS, URI, EMAIL, IP, OTHERNAME."""
        if self._names is None:
            self._names = self.read_names()
        return self._names.get(kind, ())

    cdef dict read_names(self):
        cdef GENERAL_NAMES* names = <GENERAL_NAMES*> X509_get_ext_d2i(self.x509, NID_subject_alt_name, NULL, NULL)
        cdef GENERAL_NAME* name
        cdef dict found = {}
        cdef int index
        if names == NULL:
            ERR_clear_error()
            return found
        try:
            for index in range(GENERAL_NAME_count(names)):
                name = GENERAL_NAME_at(names, index)
                if name.type in (GEN_DNS, GEN_URI, GEN_EMAIL, GEN_IPADD, GEN_OTHERNAME):
                    found[name.type] = (*found.get(name.type, ()), name_text(name))
        finally:
            GENERAL_NAMES_free(names)
        return found

    @property
    def alternative_names(self):
        """All its subject alternative names in their order: kind (of GeneralName), text, and of other names the OID."""
        cdef GENERAL_NAMES* names
        cdef GENERAL_NAME* name
        cdef list found
        cdef int index
        if self._alternative_names is None:
            found = []
            names = <GENERAL_NAMES*> X509_get_ext_d2i(self.x509, NID_subject_alt_name, NULL, NULL)
            try:
                for index in range(GENERAL_NAME_count(names) if names != NULL else 0):
                    name = GENERAL_NAME_at(names, index)
                    if name.type in (GEN_DNS, GEN_URI, GEN_EMAIL, GEN_IPADD):
                        found.append((name.type, name_text(name), ""))
                    elif name.type == GEN_OTHERNAME:
                        found.append((name.type, name_text(name), object_text(name.other.type_id)))
                    else:
                        found.append((name.type, "", ""))
            finally:
                GENERAL_NAMES_free(names)
                ERR_clear_error()
            self._alternative_names = tuple(found)
        return self._alternative_names

    @property
    def public_key_sha256(self):
        """Digest of its public key with what that is (SubjectPublicKeyInfo); bytes."""
        cdef unsigned char* data = NULL
        cdef int length = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(self.x509), &data)
        if length < 0:
            ERR_clear_error()
            return b""
        try:
            return hashlib.sha256(PyBytes_FromStringAndSize(<const char*> data, length)).digest()
        finally:
            OPENSSL_free(data)

    @property
    def may_issue(self):
        """Whether it is an authority, or its key may sign certificates or revocation lists, as every key may of which
        no usage is said."""
        cdef uint32_t usage = X509_get_key_usage(self.x509)
        return bool(X509_get_extension_flags(self.x509) & EXFLAG_CA or usage & (KU_KEY_CERT_SIGN | KU_CRL_SIGN))

    @property
    def extension_oids(self):
        """The numbers of its extensions, in their order."""
        cdef int index
        if self._oids is None:
            self._oids = tuple([
                object_text(X509_EXTENSION_get_object(X509_get_ext(self.x509, index)))
                for index in range(X509_get_ext_count(self.x509))
            ])
        return self._oids
