#!/usr/bin/env bash
# Prints the certificates that this machine trusts, each once: the system's, those that variables name, and pip's own
# (`cert` of its configuration). Of a file that holds more, e.g. a key, only the certificates are printed.
set -euo pipefail

files=("${PIP_CERT:-}" "${SSL_CERT_FILE:-}" "${REQUESTS_CA_BUNDLE:-}" "${CURL_CA_BUNDLE:-}" "${GIT_SSL_CAINFO:-}")
while IFS= read -r file; do
    files+=("$file")
done < <(python3 -m pip config list 2>/dev/null | sed -n "s/^[^=]*\.cert='\(.*\)'\$/\1/p")
# Debian, Fedora, SUSE, Alpine
files+=(/etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/ca-bundle.pem /etc/ssl/cert.pem)

for file in "${files[@]}"; do
    file=${file/#\~\//$HOME/} # as pip reads it
    if [[ -f $file && -r $file ]]; then
        cat -- "$file"
        echo # a file need not end its last line
    fi
done | awk '
    { sub(/\r$/, "") }
    /^-----BEGIN CERTIFICATE-----$/ { block = ""; inside = 1 }
    inside { block = block $0 "\n" }
    /^-----END CERTIFICATE-----$/ { if (inside && !seen[block]++) printf "%s", block; inside = 0 }
'
