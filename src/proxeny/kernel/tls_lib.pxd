"""Map of libssl and libcrypto (OpenSSL 3.0): what the TLS modules of the kernel call."""
from libc.stdint cimport uint32_t, uint64_t


cdef extern from "openssl/ssl.h":
    ctypedef struct SSL
    ctypedef struct SSL_CTX
    ctypedef struct SSL_METHOD
    ctypedef struct SSL_SESSION
    ctypedef struct SSL_CIPHER
    ctypedef struct BIO
    ctypedef struct BIO_METHOD
    ctypedef struct X509
    ctypedef struct X509_CRL
    ctypedef struct X509_NAME
    ctypedef struct X509_STORE
    ctypedef struct X509_STORE_CTX
    ctypedef struct X509_VERIFY_PARAM
    ctypedef struct STACK_OF_X509 "STACK_OF(X509)":
        pass
    ctypedef struct STACK_OF_NAMES "STACK_OF(X509_NAME)":
        pass
    ctypedef struct EVP_PKEY
    ctypedef struct EVP_CIPHER
    ctypedef struct EVP_CIPHER_CTX
    ctypedef struct EVP_MAC_CTX
    ctypedef struct PKCS12

    int SSL_ERROR_NONE, SSL_ERROR_SSL, SSL_ERROR_WANT_READ, SSL_ERROR_WANT_WRITE, SSL_ERROR_SYSCALL
    int SSL_ERROR_ZERO_RETURN
    int SSL_VERIFY_NONE, SSL_VERIFY_PEER, SSL_VERIFY_FAIL_IF_NO_PEER_CERT
    long SSL_MODE_NO_AUTO_CHAIN, SSL_MODE_RELEASE_BUFFERS
    long SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER, SSL_MODE_ENABLE_PARTIAL_WRITE
    uint64_t SSL_OP_IGNORE_UNEXPECTED_EOF, SSL_OP_NO_RENEGOTIATION, SSL_OP_CIPHER_SERVER_PREFERENCE
    uint64_t SSL_OP_NO_COMPRESSION, SSL_OP_NO_TICKET, SSL_OP_LEGACY_SERVER_CONNECT, SSL_OP_NO_ANTI_REPLAY
    uint64_t SSL_OP_ALL
    long SSL_SESS_CACHE_OFF, SSL_SESS_CACHE_CLIENT, SSL_SESS_CACHE_SERVER, SSL_SESS_CACHE_NO_INTERNAL
    int SSL_TLSEXT_ERR_OK, SSL_TLSEXT_ERR_NOACK, SSL_TLSEXT_ERR_ALERT_FATAL
    int SSL_CLIENT_HELLO_SUCCESS, SSL_CLIENT_HELLO_ERROR
    int OPENSSL_NPN_NEGOTIATED
    int TLSEXT_NAMETYPE_host_name, TLSEXT_STATUSTYPE_ocsp
    int TLSEXT_TYPE_server_name, TLSEXT_TYPE_status_request, TLSEXT_TYPE_signature_algorithms
    int TLSEXT_TYPE_supported_groups, TLSEXT_TYPE_supported_versions
    int TLS1_2_VERSION, TLS1_3_VERSION
    int SSL_AD_INTERNAL_ERROR, SSL_AD_HANDSHAKE_FAILURE
    ctypedef struct STACK_OF_CIPHERS "STACK_OF(SSL_CIPHER)":
        pass
    int sk_SSL_CIPHER_num(const STACK_OF_CIPHERS* ciphers)
    const SSL_CIPHER* sk_SSL_CIPHER_value(const STACK_OF_CIPHERS* ciphers, int i)
    STACK_OF_CIPHERS* SSL_CTX_get_ciphers(const SSL_CTX* ctx)
    uint64_t SSL_CTX_clear_options(SSL_CTX* ctx, uint64_t options)

    const SSL_METHOD* TLS_method()
    SSL_CTX* SSL_CTX_new(const SSL_METHOD* method)
    void SSL_CTX_free(SSL_CTX* ctx)
    int SSL_CTX_up_ref(SSL_CTX* ctx)
    uint64_t SSL_CTX_set_options(SSL_CTX* ctx, uint64_t options)
    long SSL_CTX_set_mode(SSL_CTX* ctx, long mode)
    void SSL_CTX_set_read_ahead(SSL_CTX* ctx, int yes)
    int SSL_CTX_set_min_proto_version(SSL_CTX* ctx, int version)
    int SSL_CTX_set_max_proto_version(SSL_CTX* ctx, int version)
    void SSL_CTX_set_security_level(SSL_CTX* ctx, int level)
    int SSL_CTX_set_cipher_list(SSL_CTX* ctx, const char* names)
    int SSL_CTX_set_ciphersuites(SSL_CTX* ctx, const char* names)
    int SSL_CTX_set1_groups_list(SSL_CTX* ctx, const char* names)
    int SSL_CTX_set1_sigalgs_list(SSL_CTX* ctx, const char* names)
    int SSL_CTX_set1_client_sigalgs_list(SSL_CTX* ctx, const char* names)
    int SSL_CTX_use_certificate(SSL_CTX* ctx, X509* certificate)
    int SSL_CTX_use_PrivateKey(SSL_CTX* ctx, EVP_PKEY* key)
    int SSL_CTX_check_private_key(const SSL_CTX* ctx)
    long SSL_CTX_set0_chain(SSL_CTX* ctx, STACK_OF_X509* chain)
    X509* SSL_CTX_get0_certificate(const SSL_CTX* ctx)
    int SSL_CTX_set1_cert_store(SSL_CTX* ctx, X509_STORE* store)
    void SSL_CTX_set_verify(SSL_CTX* ctx, int mode, void* callback)
    void SSL_CTX_set_verify_depth(SSL_CTX* ctx, int depth)
    void SSL_CTX_set_cert_verify_callback(SSL_CTX* ctx, int (*cb)(X509_STORE_CTX*, void*) noexcept, void* arg)
    void SSL_CTX_set_client_CA_list(SSL_CTX* ctx, STACK_OF_NAMES* names)
    int SSL_CTX_set_alpn_protos(SSL_CTX* ctx, const unsigned char* protos, unsigned int n)
    void SSL_CTX_set_alpn_select_cb(
        SSL_CTX* ctx,
        int (*cb)(SSL*, const unsigned char**, unsigned char*, const unsigned char*, unsigned int, void*) noexcept,
        void* arg)
    int SSL_select_next_proto(unsigned char** out, unsigned char* size, const unsigned char* server, unsigned int n,
                              const unsigned char* client, unsigned int m)
    void SSL_CTX_set_client_hello_cb(SSL_CTX* ctx, int (*cb)(SSL*, int*, void*) noexcept, void* arg)
    int SSL_client_hello_get0_ext(SSL* ssl, unsigned int kind, const unsigned char** out, size_t* n)
    size_t SSL_client_hello_get0_ciphers(SSL* ssl, const unsigned char** out)
    unsigned int SSL_client_hello_get0_legacy_version(SSL* ssl)
    int SSL3_RT_ALERT, SSL3_RT_HANDSHAKE
    void SSL_CTX_set_msg_callback(
        SSL_CTX* ctx, void (*cb)(int, int, int, const void*, size_t, SSL*, void*) noexcept)
    void SSL_CTX_set_keylog_callback(SSL_CTX* ctx, void (*cb)(const SSL*, const char*) noexcept)
    long SSL_CTX_set_session_cache_mode(SSL_CTX* ctx, long mode)
    void SSL_CTX_sess_set_new_cb(SSL_CTX* ctx, int (*cb)(SSL*, SSL_SESSION*) noexcept)
    int SSL_CTX_set_session_id_context(SSL_CTX* ctx, const unsigned char* id, unsigned int n)
    long SSL_CTX_set_timeout(SSL_CTX* ctx, long seconds)
    int SSL_CTX_set_num_tickets(SSL_CTX* ctx, size_t n)
    int SSL_CTX_set_tlsext_ticket_key_evp_cb(
        SSL_CTX* ctx,
        int (*cb)(SSL*, unsigned char*, unsigned char*, EVP_CIPHER_CTX*, EVP_MAC_CTX*, int) noexcept)
    long SSL_CTX_set_tlsext_status_cb(SSL_CTX* ctx, int (*cb)(SSL*, void*) noexcept)
    long SSL_CTX_set_tlsext_status_arg(SSL_CTX* ctx, void* arg)

    int SSL_set_cipher_list(SSL* ssl, const char* names)
    uint64_t SSL_clear_options(SSL* ssl, uint64_t options)
    SSL* SSL_new(SSL_CTX* ctx)
    void SSL_free(SSL* ssl)
    void SSL_set_bio(SSL* ssl, BIO* read, BIO* write)
    void SSL_set_accept_state(SSL* ssl)
    void SSL_set_connect_state(SSL* ssl)
    int SSL_set_app_data(SSL* ssl, void* data)
    void* SSL_get_app_data(const SSL* ssl)
    SSL_CTX* SSL_set_SSL_CTX(SSL* ssl, SSL_CTX* ctx)
    SSL_CTX* SSL_get_SSL_CTX(const SSL* ssl)
    int SSL_do_handshake(SSL* ssl)
    int SSL_read_ex(SSL* ssl, void* target, size_t size, size_t* n)
    int SSL_write_ex(SSL* ssl, const void* data, size_t size, size_t* n)
    int SSL_shutdown(SSL* ssl)
    int SSL_get_error(const SSL* ssl, int rc)
    int SSL_has_pending(const SSL* ssl)
    int SSL_in_init(const SSL* ssl)
    int SSL_session_reused(const SSL* ssl)
    int SSL_set_tlsext_host_name(SSL* ssl, const char* name)
    const char* SSL_get_servername(const SSL* ssl, int kind)
    int SSL_set_alpn_protos(SSL* ssl, const unsigned char* protos, unsigned int n)
    void SSL_get0_alpn_selected(const SSL* ssl, const unsigned char** data, unsigned int* n)
    void SSL_set_verify(SSL* ssl, int mode, void* callback)
    int SSL_get_verify_mode(const SSL* ssl)
    long SSL_set_tlsext_status_type(SSL* ssl, int kind)
    long SSL_set_tlsext_status_ocsp_resp(SSL* ssl, void* data, long n)
    X509* SSL_get0_peer_certificate(const SSL* ssl)
    STACK_OF_X509* SSL_get_peer_cert_chain(const SSL* ssl)
    STACK_OF_X509* SSL_get0_verified_chain(const SSL* ssl)
    X509* SSL_get_certificate(const SSL* ssl)
    const char* SSL_get_version(const SSL* ssl)
    int SSL_version(const SSL* ssl)
    const SSL_CIPHER* SSL_get_pending_cipher(const SSL* ssl)
    const SSL_CIPHER* SSL_get_current_cipher(const SSL* ssl)
    const char* SSL_CIPHER_get_name(const SSL_CIPHER* cipher)
    uint32_t SSL_CIPHER_get_protocol_id(const SSL_CIPHER* cipher)
    int SSL_CIPHER_get_auth_nid(const SSL_CIPHER* cipher)
    int SSL_CIPHER_get_kx_nid(const SSL_CIPHER* cipher)
    const SSL_CIPHER* SSL_CIPHER_find(SSL* ssl, const unsigned char* two)
    int SSL_get_negotiated_group(SSL* ssl)
    int SSL_get_peer_signature_nid(const SSL* ssl, int* nid)
    int SSL_get_peer_signature_type_nid(const SSL* ssl, int* nid)
    int SSL_get_ex_data_X509_STORE_CTX_idx()

    SSL_SESSION* SSL_get_session(const SSL* ssl)
    int SSL_set_session(SSL* ssl, SSL_SESSION* session)
    void SSL_SESSION_free(SSL_SESSION* session)
    int SSL_SESSION_up_ref(SSL_SESSION* session)
    int SSL_SESSION_is_resumable(const SSL_SESSION* session)
    int SSL_SESSION_get_protocol_version(const SSL_SESSION* session)
    const unsigned char* SSL_SESSION_get_id(const SSL_SESSION* session, unsigned int* n)

    int BIO_TYPE_SOURCE_SINK, BIO_CTRL_FLUSH, BIO_CTRL_EOF, BIO_CTRL_PUSH, BIO_CTRL_POP
    int BIO_get_new_index()
    BIO_METHOD* BIO_meth_new(int kind, const char* name)
    int BIO_meth_set_read(BIO_METHOD* method, int (*cb)(BIO*, char*, int) noexcept)
    int BIO_meth_set_write(BIO_METHOD* method, int (*cb)(BIO*, const char*, int) noexcept)
    int BIO_meth_set_ctrl(BIO_METHOD* method, long (*cb)(BIO*, int, long, void*) noexcept)
    BIO* BIO_new(const BIO_METHOD* method)
    int BIO_free(BIO* bio)
    void BIO_set_data(BIO* bio, void* data)
    void* BIO_get_data(BIO* bio)
    void BIO_set_init(BIO* bio, int yes)
    void BIO_set_retry_read(BIO* bio)
    void BIO_clear_retry_flags(BIO* bio)
    BIO* BIO_new_mem_buf(const void* data, int n)

cdef extern from "openssl/err.h":
    int ERR_LIB_SSL, ERR_LIB_SYS, ERR_LIB_PEM, ERR_LIB_PKCS12
    unsigned long ERR_get_error()
    unsigned long ERR_peek_error()
    unsigned long ERR_peek_last_error()
    void ERR_clear_error()
    int ERR_GET_LIB(unsigned long error)
    int ERR_GET_REASON(unsigned long error)
    const char* ERR_reason_error_string(unsigned long error)
    const char* ERR_lib_error_string(unsigned long error)

cdef extern from "openssl/sslerr.h":
    int SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE, SSL_R_CERTIFICATE_VERIFY_FAILED

cdef extern from "openssl/pem.h":
    int PEM_R_NO_START_LINE
    X509* PEM_read_bio_X509_AUX(BIO* bio, X509** x, void* callback, void* arg)
    X509* PEM_read_bio_X509(BIO* bio, X509** x, void* callback, void* arg)
    X509_CRL* PEM_read_bio_X509_CRL(BIO* bio, X509_CRL** x, void* callback, void* arg)
    EVP_PKEY* PEM_read_bio_PrivateKey(BIO* bio, EVP_PKEY** x, int (*cb)(char*, int, int, void*) noexcept, void* arg)

cdef extern from "openssl/pkcs12.h":
    PKCS12* d2i_PKCS12_bio(BIO* bio, PKCS12** x)
    int PKCS12_parse(PKCS12* p12, const char* password, EVP_PKEY** key, X509** certificate, STACK_OF_X509** chain)
    void PKCS12_free(PKCS12* p12)

cdef extern from "openssl/evp.h":
    int EVP_PKEY_RSA, EVP_PKEY_EC, EVP_PKEY_RSA_PSS, EVP_PKEY_ED25519
    int EVP_MAX_IV_LENGTH
    int EVP_PKEY_get_group_name(const EVP_PKEY* key, char* name, size_t size, size_t* n)
    int EVP_PKEY_get_base_id(const EVP_PKEY* key)
    void EVP_PKEY_free(EVP_PKEY* key)
    const EVP_CIPHER* EVP_aes_256_cbc()
    const EVP_CIPHER* EVP_aes_128_cbc()
    int EVP_EncryptInit_ex(EVP_CIPHER_CTX* ctx, const EVP_CIPHER* cipher, void* engine, const unsigned char* key,
                           const unsigned char* iv)
    int EVP_DecryptInit_ex(EVP_CIPHER_CTX* ctx, const EVP_CIPHER* cipher, void* engine, const unsigned char* key,
                           const unsigned char* iv)

cdef extern from "openssl/rand.h":
    int RAND_bytes(unsigned char* target, int n)

cdef extern from "openssl/x509_vfy.h":
    int X509_V_OK, X509_V_ERR_APPLICATION_VERIFICATION, X509_V_ERR_PERMITTED_VIOLATION
    int X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED
    unsigned long X509_V_FLAG_PARTIAL_CHAIN, X509_V_FLAG_CRL_CHECK, X509_V_FLAG_CRL_CHECK_ALL
    unsigned long X509_V_FLAG_NO_CHECK_TIME
    X509_STORE* X509_STORE_new()
    void X509_STORE_free(X509_STORE* store)
    int X509_STORE_add_cert(X509_STORE* store, X509* certificate)
    int X509_STORE_add_crl(X509_STORE* store, X509_CRL* crl)
    int X509_STORE_set_flags(X509_STORE* store, unsigned long flags)
    int X509_verify_cert(X509_STORE_CTX* ctx)
    int X509_STORE_CTX_get_error(const X509_STORE_CTX* ctx)
    void X509_STORE_CTX_set_error(X509_STORE_CTX* ctx, int error)
    int X509_STORE_CTX_get_error_depth(const X509_STORE_CTX* ctx)
    void* X509_STORE_CTX_get_ex_data(const X509_STORE_CTX* ctx, int index)
    X509* X509_STORE_CTX_get0_cert(const X509_STORE_CTX* ctx)
    STACK_OF_X509* X509_STORE_CTX_get0_untrusted(const X509_STORE_CTX* ctx)
    const char* X509_verify_cert_error_string(long error)

cdef extern from "openssl/x509.h":
    void X509_free(X509* certificate)
    int X509_up_ref(X509* certificate)
    int X509_check_private_key(const X509* certificate, const EVP_PKEY* key)
    int i2d_X509(const X509* certificate, unsigned char** out)
    X509* d2i_X509(X509** x, const unsigned char** data, long n)
    void X509_CRL_free(X509_CRL* crl)
    X509_NAME* X509_get_subject_name(const X509* certificate)
    int i2d_X509_NAME(const X509_NAME* name, unsigned char** out)
    X509_NAME* d2i_X509_NAME(X509_NAME** x, const unsigned char** data, long n)
    void X509_NAME_free(X509_NAME* name)
    EVP_PKEY* X509_get0_pubkey(const X509* certificate)
    uint32_t X509_get_key_usage(X509* certificate)
    uint32_t X509v3_KU_DIGITAL_SIGNATURE, X509v3_KU_KEY_ENCIPHERMENT
    STACK_OF_X509* sk_X509_new_null()
    int sk_X509_num(const STACK_OF_X509* chain)
    X509* sk_X509_value(const STACK_OF_X509* chain, int i)
    int sk_X509_push(STACK_OF_X509* chain, X509* certificate)
    STACK_OF_NAMES* sk_X509_NAME_new_null()
    int sk_X509_NAME_push(STACK_OF_NAMES* names, X509_NAME* name)
    void OPENSSL_free(void* data)
    void* OPENSSL_malloc(size_t n)

cdef extern from *:
    """
    static void px_free_chain(STACK_OF(X509) *chain) { sk_X509_pop_free(chain, X509_free); }
    static void px_free_names(STACK_OF(X509_NAME) *names) { sk_X509_NAME_pop_free(names, X509_NAME_free); }
    """
    void free_chain "px_free_chain" (STACK_OF_X509* chain)
    void free_names "px_free_names" (STACK_OF_NAMES* names)

cdef extern from "openssl/obj_mac.h":
    int NID_X25519, NID_X448, NID_X9_62_prime256v1, NID_secp384r1, NID_secp521r1
    int NID_auth_ecdsa, NID_kx_rsa, NID_kx_any
    int NID_md5_sha1, NID_sha1, NID_sha256, NID_sha384, NID_sha512

cdef extern from * nogil:
    """
    #include <openssl/x509v3.h>
    static int px_verification_error(X509_STORE_CTX *ctx) {
        /* BoringSSL takes a certificate for its own issuer only if its key may sign certificates. */
        int error = X509_STORE_CTX_get_error(ctx);
        X509 *own = X509_STORE_CTX_get0_cert(ctx);
        if (error == X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT && !(X509_get_key_usage(own) & KU_KEY_CERT_SIGN))
            return X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY;
        return error;
    }
    """
    int verification_error "px_verification_error" (X509_STORE_CTX* ctx)
