#!/bin/sh
# certificates.sh FOLDER NAME...: an authority of the trust domain mesh.test, and a certificate per workload,
# FOLDER/NAME/{ca.crt,tls.crt,tls.key}, whose only name is spiffe://mesh.test/ns/default/sa/NAME.
set -eu
folder=$1
shift
mkdir -p "$folder"
cd "$folder"

openssl ecparam -name prime256v1 -genkey -noout -out ca.key
openssl req -x509 -new -key ca.key -days 3650 -subj "/O=mesh.test" -out ca.crt \
  -addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign,cRLSign" \
  -addext "subjectAltName=URI:spiffe://mesh.test"
for name in "$@"; do
  mkdir -p "$name"
  openssl ecparam -name prime256v1 -genkey -noout -out "$name/tls.key"
  openssl req -new -key "$name/tls.key" -subj "/O=mesh.test" -out "$name/tls.csr"
  cat >"$name/extensions" <<END
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth, clientAuth
subjectAltName = critical, URI:spiffe://mesh.test/ns/default/sa/$name
END
  openssl x509 -req -in "$name/tls.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 90 \
    -extfile "$name/extensions" -out "$name/tls.crt" 2>/dev/null
  cp ca.crt "$name/ca.crt"
  rm "$name/tls.csr" "$name/extensions"
done
