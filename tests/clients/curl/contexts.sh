#!/bin/sh
# The examples of Moonshot's documentation of context caching, with curl.
# Usage: contexts.sh BASE_URL MODEL REQUEST_FILE QUESTION EXPECTED_TEXT
# REQUEST_FILE is the JSON of a request to create a context.
set -eu
base=$1 model=$2 request=$3 question=$4 expected=$5

say() { printf '%s\n' "$*" >&2; }
fail() { say "failed: $*"; exit 1; }
call() { curl --silent --show-error --fail-with-body -H 'Content-Type: application/json' "$@"; }
# The text of a field of the first object that has it.
field() { sed -n "s/.*\"$1\":\"\\([^\"]*\\)\".*/\\1/p" | head -n 1; }
header() { tr -d '\r' | sed -n "s/^$1: //Ip"; }

say "POST /v1/caching"
created=$(call "$base/caching" -d @"$request")
id=$(printf '%s' "$created" | field id)
case $id in cache-*) ;; *) fail "no id in $created" ;; esac

say "GET /v1/caching/{id}"
status=pending
while [ "$status" = pending ]; do
  status=$(call "$base/caching/$id" | field status)
done
[ "$status" = ready ] || fail "status $status"

say "POST /v1/caching/refs/tags, GET, list, content"
call "$base/caching/refs/tags" -d "{\"tag\":\"my-tag\",\"cache_id\":\"$id\"}" | grep -q '"object":"cache_object.tag"'
[ "$(call "$base/caching/refs/tags/my-tag" | field cache_id)" = "$id" ] || fail "tag"
call "$base/caching/refs/tags?limit=20&order=desc" | grep -q '"tag":"my-tag"'
[ "$(call "$base/caching/refs/tags/my-tag/content" | field id)" = "$id" ] || fail "content of the tag"

ask() { # reference, further fields
  call -D headers.txt "$base/chat/completions" -d "{\"model\":\"$model\",\"temperature\":0,\"max_tokens\":100,$2
    \"messages\":[{\"role\":\"cache\",\"content\":\"$1\"},
      {\"role\":\"user\",\"content\":\"Complete this sentence from the document:\\n$question\"}]}"
}

for reference in "cache_id=$id" "cache_id=$id;reset_ttl=3600" "tag=my-tag;reset_ttl=300"; do
  say "POST /v1/chat/completions with $reference"
  answer=$(ask "$reference" "" | field content)
  [ "$answer" = "$expected" ] || fail "answer '$answer', expected '$expected'"
  [ "$(header Msh-Context-Cache-Id < headers.txt)" = "$id" ] || fail "header of the id"
  saved=$(header Msh-Context-Cache-Token-Saved < headers.txt)
  [ "${saved:-0}" -gt 0 ] || fail "tokens saved: '$saved'"
done
[ "$(header Msh-Context-Cache-Token-Ttl < headers.txt)" = 300 ] || fail "time to live"

say "streamed"
ask "cache_id=$id" '"stream":true,' | grep -q '^data: \[DONE\]'
[ "$(header Msh-Context-Cache-Token-Saved < headers.txt)" -gt 0 ] || fail "tokens saved in a stream"

say "dry run"
ask "cache_id=$id;dry_run=1" "" | grep -q '"choices":\[\]'

say "PUT /v1/caching/{id}"
call -X PUT "$base/caching/$id" -d '{"metadata":{"biz_id":"7"},"ttl":600}' | grep -q '"biz_id":"7"'

say "GET /v1/caching"
call --globoff "$base/caching?limit=20&order=desc&metadata[biz_id]=7" | grep -q "\"id\":\"$id\""

say "DELETE"
call -X DELETE "$base/caching/refs/tags/my-tag" | grep -q '"object":"cache_object.tag.deleted"'
call -X DELETE "$base/caching/$id" | grep -q '"object":"context_cache_object.deleted"'
code=$(curl --silent --output gone.json --write-out '%{http_code}' "$base/caching/$id")
[ "$code" = 404 ] || fail "a deleted context answers $code"

echo ok
