#!/bin/sh
# Makes CockroachDB's own certificates, once: /authority gets the CA's key, /node what the server and the administrator
# (SQL user root) need, /client what the Registry (SQL user crossfade) needs, and /migrator what the job migrate (SQL user
# crossfade_migrate) needs. There is no password anywhere.
set -eu
umask 077

cockroach=/cockroach/cockroach
ca_key=/authority/ca.key

if [ ! -f "$ca_key" ]; then
    "$cockroach" cert create-ca --certs-dir=/node --ca-key="$ca_key"
fi
if [ ! -f /node/node.crt ]; then
    "$cockroach" cert create-node cockroach localhost 127.0.0.1 --certs-dir=/node --ca-key="$ca_key"
fi
if [ ! -f /node/client.root.crt ]; then
    "$cockroach" cert create-client root --certs-dir=/node --ca-key="$ca_key"
fi
if [ ! -f /client/client.crossfade.crt ]; then
    cp /node/ca.crt /client/ca.crt
    "$cockroach" cert create-client crossfade --certs-dir=/client --ca-key="$ca_key"
fi
if [ ! -f /migrator/client.crossfade_migrate.crt ]; then
    cp /node/ca.crt /migrator/ca.crt
    "$cockroach" cert create-client crossfade_migrate --certs-dir=/migrator --ca-key="$ca_key"
fi
chown -R 10001:10001 /client /migrator
chmod 0500 /client /migrator
