#!/usr/bin/env bash
# Shows a CiliumNetworkPolicy being enforced, on the cluster `playground up` made. Called by `make demo`;
# every command it runs is printed as you would type it. Usage: demo.sh [CLUSTER]
set -euo pipefail
cd "$(dirname "$0")/../.."
eval "$(playground env ${1:+--name "$1"})"
landing=(curl -s --max-time 2 -XPOST deathstar.default.svc.cluster.local/v1/request-landing)

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
show() { printf '\033[36m$ %s\033[0m\n' "$*"; "$@"; }
# A policy acts within milliseconds; what is waited for here is the first answer, never a fixed time.
until_it() { for _ in $(seq 100); do "$@" >/dev/null 2>&1 && return; sleep 0.1; done; echo "gave up waiting for: $*" >&2; exit 1; }

kubectl delete --ignore-not-found -f examples/starwars/sw_l3_l4_policy.yaml >/dev/null 2>&1 || true

say "The Star Wars app: a death star with a service, an empire ship, an alliance ship"
show kubectl apply -f examples/starwars/http-sw-app.yaml
kubectl rollout status deployment/deathstar --timeout=120s >/dev/null
kubectl wait --for=condition=Ready pod/tiefighter pod/xwing --timeout=120s >/dev/null
until_it kubectl exec tiefighter -- "${landing[@]}"
show kubectl get nodes -o wide
show kubectl get pods -A -o wide

say "Without a policy, both may land"
show kubectl exec tiefighter -- "${landing[@]}"
show kubectl exec xwing -- "${landing[@]}"

say "The policy: only ships of the empire, only on port 80"
show kubectl apply -f examples/starwars/sw_l3_l4_policy.yaml
until_it kubectl wait --for=jsonpath='{.status.conditions[?(@.type=="Valid")].status}'=True cnp/rule1 --timeout=10s
until_it bash -c "! kubectl exec xwing -- ${landing[*]}"
show kubectl exec tiefighter -- "${landing[@]}"

say "The alliance times out, and the node that dropped the packets says why"
drops=$(mktemp)
seta monitor --type drop > "$drops" 2>/dev/null &
monitor=$!
trap 'kill $monitor 2>/dev/null || true; rm -f "$drops"' EXIT
sleep 2
show kubectl exec xwing -- "${landing[@]}" || true
until_it grep -q 'Policy denied' "$drops"
printf '\033[36m$ seta monitor --type drop\033[0m\n'
grep 'Policy denied' "$drops" | head -3

show kubectl get cnp
show seta endpoint list

say "The cluster stays up. What to try next"
cat <<'TEXT'
  eval "$(.venv/bin/playground env)"                  kubectl, helm and seta on the PATH
  kubectl exec tiefighter -- curl -s -XPOST deathstar.default.svc.cluster.local/v1/request-landing
  kubectl delete -f examples/starwars/sw_l3_l4_policy.yaml
  seta status --verbose; seta service list; seta bpf lb list; seta monitor
  .venv/bin/playground exec world -- ping -c1 192.168.10.10
  .venv/bin/playground down                           leaves nothing behind
TEXT
