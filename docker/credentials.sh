#!/bin/sh
# Gives each container its own certificate, key and CA, and the token keys to those that use them, readable by its user
# alone, and the Worker the public key of those who sign artifacts. Usage: credentials.sh SOURCE TARGET, where SOURCE
# holds certificates/ (from `crossfade certs dev`), token-keys and signing.pem (from `crossfade certs signing`), and TARGET
# gets one folder per container.
set -eu
umask 077

source=$1
target=$2
service_user=${SERVICE_USER:-10001:10001}
prometheus_user=${PROMETHEUS_USER:-65534:65534}

give() { # USER FILE DESTINATION
    if [ ! -s "$2" ]; then
        echo "credentials: $2 is missing: see docs/deployment.md, step 2" >&2
        exit 1
    fi
    install -o "${1%:*}" -g "${1#*:}" -m 0400 "$2" "$3"
}

# Writable until all is in it: only root writes into its read-only folders.
container() { # USER FOLDER NAME, where NAME is the certificate's
    install -d -o "${1%:*}" -g "${1#*:}" -m 0700 "$target/$2"
    give "$1" "$source/certificates/ca.pem" "$target/$2/ca.pem"
    give "$1" "$source/certificates/$3.pem" "$target/$2/certificate.pem"
    give "$1" "$source/certificates/$3.key" "$target/$2/certificate.key"
}

for name in registry router worker evaluator; do
    container "$service_user" "$name" "$name"
done
container "$prometheus_user" prometheus viewer
for name in router worker; do
    give "$service_user" "$source/token-keys" "$target/$name/token-keys"
done
give "$service_user" "$source/signing.pem" "$target/worker/signing.pem"
for name in registry router worker evaluator prometheus; do
    chmod 0500 "$target/$name"
done
