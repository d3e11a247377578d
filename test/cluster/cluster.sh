#!/usr/bin/env bash
# A real Kubernetes of one or two nodes for tests, on a Debian machine without Docker:
# kube-apiserver, controller-manager, scheduler, kubelet and kube-proxy compiled
# from the Go module k8s.io/kubernetes, etcd and containerd from Debian, CoreDNS
# from its Go module, NetworkPolicy by SIG Network's reference engine. Each node is
# a network namespace of its own, so no address outside them is ever used. Needs root.
#
#   cluster.sh up [2] | down | status    start with one node or two, stop, list the processes
#   cluster.sh build                     only compile what is not in the cache folder yet
#   cluster.sh lose 2 | recover 2        end all of node 2 at once, as a power cut would; power it on again
#   cluster.sh broker                    RabbitMQ beside the control plane, as a broker that was there before; prints its URL
#   cluster.sh cut | heal                take node 2 off the network, put it back
#   cluster.sh stop PART | restart PART  one process by its name in `status`: apiserver, etcd, kubelet1, ...
#   cluster.sh kill-container NODE UID NAME  SIGKILL to a container of the pod with this uid
#   cluster.sh kubectl ARGS...           kubectl against it
#   cluster.sh run COMMAND...            run a command inside its network namespace
#   cluster.sh load-image FILE.tar       import an OCI image archive
#   cluster.sh has-image NAME            whether every node has it
#   cluster.sh image NAME DIR 'CMD JSON' make an image of a root folder and import it (NAME with its host, docker.io/library/x:1)
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
base=${CLUSTER_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/kube-serverless-cluster}
bin=$base/bin
state=$base/state
netns=ks-test
node_ip=10.200.0.1
kubernetes=v1.34.4
helm=v3.19.0
export PATH=$PATH:$bin

# Node 1 holds the control plane. Not `ip netns exec`: that hides /sys/fs/cgroup.
inside() { nsenter --net="/run/netns/$netns" "$@"; }
on_node() { local n=$1 && shift && nsenter --net="/run/netns/$(netns_of "$n")" "$@"; }
netns_of() { if (($1 == 1)); then echo "$netns"; else echo "$netns-$1"; fi; }
kubectl_() { inside kubectl --kubeconfig "$state/admin.kubeconfig" "$@" 2> >(grep -v 'parse pre-release' >&2); }
ctr_() { local n=$1 && shift && ctr -a "$state/node$n/containerd.sock" -n k8s.io "$@"; }
nodes() { for d in "$state"/node[0-9]; do [[ ! -d $d ]] || echo "${d##*/node}"; done; }
note() { printf '%s\n' "$*" >&2; }

packages() {
  local missing=()
  for p in containerd runc containernetworking-plugins iptables etcd-server conntrack iproute2 openssl; do
    dpkg -s "$p" >/dev/null 2>&1 || missing+=("$p")
  done
  if ((${#missing[@]})); then
    note "installing ${missing[*]}"
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
  fi
}

go_() { PATH=/usr/local/go/bin:$PATH go "$@"; }

build() { packages && compile && clients; }

compile() {
  mkdir -p "$bin"
  local stamp="$kubernetes $(cat "$here"/{kubetest,clusterdns,netpol}/{main.go,go.sum} | sha256sum | cut -c1-16)"
  [[ -f $bin/stamp && $(<"$bin/stamp") == "$stamp" ]] && return
  note "compiling Kubernetes $kubernetes, CoreDNS and the NetworkPolicy engine (about 9 minutes the first time on 2 cores)"
  (cd "$here/kubetest" && CGO_ENABLED=0 go_ build -ldflags "-s -w -X k8s.io/component-base/version.gitVersion=$kubernetes" -o "$bin/kubetest" .)
  for part in clusterdns netpol; do (cd "$here/$part" && CGO_ENABLED=0 go_ build -ldflags '-s -w' -o "$bin/$part" .); done
  # The pause container: reaps children, waits for a signal.
  printf '%s' '#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
static void on(int n){if(n==SIGCHLD)while(waitpid(-1,0,WNOHANG)>0);else _exit(0);}
int main(void){signal(SIGINT,on);signal(SIGTERM,on);signal(SIGCHLD,on);for(;;)pause();}' | cc -static -Os -s -x c - -o "$bin/pause"
  echo "$stamp" >"$bin/stamp"
}

# What a person would have installed already.
clients() {
  command -v kubectl >/dev/null || (cd "$here/kubetest" && CGO_ENABLED=0 go_ build -ldflags "-s -w -X k8s.io/component-base/version.gitVersion=$kubernetes" -o "$bin/kubectl" k8s.io/kubernetes/cmd/kubectl)
  command -v helm >/dev/null || (cd "$bin" && GOBIN=$bin CGO_ENABLED=0 go_ install "helm.sh/helm/v3/cmd/helm@$helm")
}

certificates() {
  mkdir -p "$state/pki" && cd "$state/pki"
  [[ -f ca.crt ]] && return
  openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=kube-serverless-test -keyout ca.key -out ca.crt 2>/dev/null
  issue() { # file subject names
    openssl req -newkey rsa:2048 -nodes -subj "$2" -keyout "$1.key" -out "$1.csr" 2>/dev/null
    openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 -out "$1.crt" -extfile <(echo "subjectAltName=${3:-DNS:$1}") 2>/dev/null
  }
  issue apiserver /CN=kube-apiserver "DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:localhost,IP:127.0.0.1,IP:10.96.0.1,IP:$node_ip"
  issue admin /O=system:masters/CN=admin
  issue kubelet-client /O=system:masters/CN=apiserver-kubelet
  for n in 1 2; do issue "node$n" "/O=system:nodes/CN=system:node:node$n" "DNS:node$n,IP:10.200.0.$n,IP:127.0.0.1"; done
  openssl genrsa -out sa.key 2048 2>/dev/null && openssl rsa -in sa.key -pubout -out sa.pub 2>/dev/null
  for user in admin node1 node2; do
    cat >"$state/$user.kubeconfig" <<EOF
apiVersion: v1
kind: Config
clusters: [{name: test, cluster: {server: "https://$node_ip:6443", certificate-authority: $state/pki/ca.crt}}]
users: [{name: $user, user: {client-certificate: $state/pki/$user.crt, client-key: $state/pki/$user.key}}]
contexts: [{name: test, context: {cluster: test, user: $user}}]
current-context: test
EOF
  done
}

network() {
  ip netns list | grep -qw "$netns" && return
  ip netns add "$netns"
  inside ip link set lo up
  inside ip link add node0 type bridge # the kernel here has no dummy device
  inside ip addr add "$node_ip/24" dev node0
  inside ip link set node0 up
  inside ip route add default dev node0
  inside sysctl -qw net.ipv4.ip_forward=1 net.bridge.bridge-nf-call-iptables=1
}

start() { start_on 1 "$@"; }

start_on() { # node name command...
  local n=$1 name=$2 && shift 2
  cd "$state"
  { printf 'start_on %q %q' "$n" "$name" && printf ' %q' "$@"; } >"cmd/$name"
  setsid nsenter --net="/run/netns/$(netns_of "$n")" "$@" >"log/$name.log" 2>&1 </dev/null &
  echo $! >"pid/$name"
}

wait_for() { # what seconds command...
  local what=$1 seconds=$2 && shift 2
  for ((i = 0; i < seconds * 5; i++)); do "$@" >/dev/null 2>&1 && return; sleep 0.2; done
  note "$what did not come up in $seconds s; see $state/log"
  exit 1
}

image() { # name folder 'command json'
  local dir && dir=$(mktemp -d)
  tar -C "$2" --numeric-owner -cf "$dir/layer.tar" .
  python3 - "$1" "$3" "$dir/layer.tar" "$dir/image.tar" <<'EOF'
import hashlib, io, json, sys, tarfile
name, command, layer_file, out = sys.argv[1:]
layer = open(layer_file, "rb").read()
digest = lambda b: hashlib.sha256(b).hexdigest()
def descriptor(kind, blob, **more):
    return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": "sha256:" + digest(blob), "size": len(blob), **more}
config = json.dumps({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": ["sha256:" + digest(layer)]},
    "config": {"Cmd": json.loads(command), "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]}, "history": [{}]}).encode()
manifest = json.dumps({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
    "config": descriptor("config.v1+json", config), "layers": [descriptor("layer.v1.tar", layer)]}).encode()
index = json.dumps({"schemaVersion": 2, "manifests": [descriptor("manifest.v1+json", manifest,
    annotations={"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name.split(":")[-1]})]}).encode()
with tarfile.open(out, "w") as archive:
    def add(path, blob):
        info = tarfile.TarInfo(path); info.size = len(blob); archive.addfile(info, io.BytesIO(blob))
    add("oci-layout", b'{"imageLayoutVersion":"1.0.0"}'); add("index.json", index)
    for blob in (layer, config, manifest): add("blobs/sha256/" + digest(blob), blob)
EOF
  for n in $(nodes); do ctr_ "$n" images import "$dir/image.tar" >/dev/null; done
  rm -rf "$dir"
}

network_of_node_2() {
  ip netns list | grep -qw "$netns-2" && return
  ip netns add "$netns-2"
  inside ip link add to-node2 type veth peer name node0 netns "$netns-2"
  inside ip link set to-node2 master node0 up
  on_node 2 ip link set lo up
  on_node 2 ip addr add 10.200.0.2/24 dev node0
  on_node 2 ip link set node0 up
  on_node 2 ip route add default via "$node_ip"
  on_node 2 sysctl -qw net.ipv4.ip_forward=1 net.bridge.bridge-nf-call-iptables=1
}

control_plane() {
  start etcd etcd --data-dir "$state/etcd" --unsafe-no-fsync \
    --listen-client-urls http://127.0.0.1:12379 --advertise-client-urls http://127.0.0.1:12379 \
    --listen-peer-urls http://127.0.0.1:12380 --initial-advertise-peer-urls http://127.0.0.1:12380 --initial-cluster default=http://127.0.0.1:12380
  start apiserver "$bin/kubetest" apiserver --etcd-servers=http://127.0.0.1:12379 --secure-port=6443 --advertise-address=$node_ip \
    --tls-cert-file=pki/apiserver.crt --tls-private-key-file=pki/apiserver.key --client-ca-file=pki/ca.crt \
    --service-account-issuer=https://kubernetes.default.svc --service-account-key-file=pki/sa.pub --service-account-signing-key-file=pki/sa.key \
    --kubelet-client-certificate=pki/kubelet-client.crt --kubelet-client-key=pki/kubelet-client.key --kubelet-preferred-address-types=InternalIP \
    --authorization-mode=Node,RBAC --service-cluster-ip-range=10.96.0.0/16 --allow-privileged=true
  wait_for kube-apiserver 60 kubectl_ get --raw /readyz
  start controller-manager "$bin/kubetest" controller-manager --kubeconfig=admin.kubeconfig --service-account-private-key-file=pki/sa.key \
    --root-ca-file=pki/ca.crt --leader-elect=false --node-monitor-grace-period=12s
  start scheduler "$bin/kubetest" scheduler --kubeconfig=admin.kubeconfig --leader-elect=false
  printf '.:53 {\n bind %s\n errors\n cache 1\n kubernetes cluster.local in-addr.arpa {\n  kubeconfig %s\n  ttl 1\n }\n}\n' "$node_ip" "$state/admin.kubeconfig" >"$state/Corefile"
  start dns "$bin/clusterdns" -conf Corefile
  kubectl_ apply -f - >/dev/null <<EOF
apiVersion: v1
kind: Service
metadata: {name: kube-dns, namespace: kube-system}
spec: {clusterIP: 10.96.0.10, ports: [{name: dns, port: 53, protocol: UDP}, {name: dns-tcp, port: 53, protocol: TCP}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: kube-dns-1, namespace: kube-system, labels: {kubernetes.io/service-name: kube-dns}}
addressType: IPv4
ports: [{name: dns, port: 53, protocol: UDP}, {name: dns-tcp, port: 53, protocol: TCP}]
endpoints: [{addresses: ["$node_ip"]}]
EOF
}

node() { # number
  local n=$1 dir=$state/node$1 other=$((3 - $1)) cgroup=/ks-node$1
  mkdir -p "$dir"/{kubelet,manifests,cni}
  # No masquerade: a pod keeps its address on the other node, or NetworkPolicy could not know it.
  cat >"$dir/cni/10-bridge.conflist" <<EOF
{"cniVersion":"0.4.0","name":"test","plugins":[
 {"type":"bridge","bridge":"cni0","isGateway":true,"ipMasq":false,"hairpinMode":true,
  "ipam":{"type":"host-local","dataDir":"$dir/addresses","ranges":[[{"subnet":"10.244.$n.0/24"}]],"routes":[{"dst":"0.0.0.0/0"}]}},
 {"type":"portmap","capabilities":{"portMappings":true}}]}
EOF
  # restrict_oom_score_adj: without CAP_SYS_RESOURCE runc dies with "can't get final child's PID from pipe".
  cat >"$dir/containerd.toml" <<EOF
version = 2
root = "$dir/containerd"
state = "$dir/containerd-run"
[grpc]
address = "$dir/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
restrict_oom_score_adj = true
sandbox_image = "docker.io/local/pause:1"
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "$dir/cni"
EOF
  # A kubelet deletes the cgroups of pods that it does not know: each needs a root of its own.
  for c in /sys/fs/cgroup/*/cgroup.procs; do
    c=${c%/cgroup.procs} && mkdir -p "$c$cgroup"
    [[ ! -f $c/cpuset.cpus ]] || { cat "$c/cpuset.cpus" >"$c$cgroup/cpuset.cpus" && cat "$c/cpuset.mems" >"$c$cgroup/cpuset.mems"; }
  done
  if ((n > 1)); then
    inside ip route replace "10.244.$n.0/24" via "10.200.0.$n"
    on_node "$n" ip route replace "10.244.$other.0/24" via "10.200.0.$other"
  fi
  start_on "$n" "containerd$n" containerd -c "node$n/containerd.toml"
  wait_for "containerd of node $n" 20 ctr_ "$n" version
  echo "nameserver 10.96.0.10" >"$state/resolv.conf"
  cat >"$dir/kubelet.yaml" <<EOF
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $state/pki/ca.crt}}
authorization: {mode: Webhook}
cgroupDriver: cgroupfs
cgroupRoot: $cgroup
failCgroupV1: false
failSwapOn: false
containerRuntimeEndpoint: unix://$dir/containerd.sock
clusterDNS: ["10.96.0.10"]
clusterDomain: cluster.local
resolvConf: $state/resolv.conf
tlsCertFile: $state/pki/node$n.crt
tlsPrivateKeyFile: $state/pki/node$n.key
staticPodPath: $dir/manifests
nodeStatusUpdateFrequency: 3s
nodeLeaseDurationSeconds: 10
maxPods: 200
podPidsLimit: 256
serializeImagePulls: false
evictionHard: {memory.available: 100Mi, nodefs.available: "1%", imagefs.available: "1%"}
EOF
  start_on "$n" "kubelet$n" "$bin/kubetest" kubelet --config="node$n/kubelet.yaml" --kubeconfig="node$n.kubeconfig" --hostname-override="node$n" --node-ip="10.200.0.$n" --root-dir="$dir/kubelet"
  start_on "$n" "proxy$n" "$bin/kubetest" proxy --kubeconfig=admin.kubeconfig --proxy-mode=iptables --cluster-cidr=10.244.0.0/16 --hostname-override="node$n" --conntrack-max-per-core=0
  # The engine's own rules need nftables' queue expression, which this kernel lacks (it logs that, harmlessly): these send it the first packets.
  start_on "$n" "netpol$n" "$bin/netpol" admin.kubeconfig "node$n"
  on_node "$n" iptables -t mangle -A POSTROUTING -m addrtype --src-type LOCAL -j RETURN # a node always reaches its pods: probes
  on_node "$n" iptables -t mangle -A POSTROUTING -m conntrack --ctstate NEW -s 10.244.0.0/16 -j NFQUEUE --queue-num 100
  on_node "$n" iptables -t mangle -A POSTROUTING -m conntrack --ctstate NEW -d 10.244.0.0/16 ! -s 10.244.0.0/16 -j NFQUEUE --queue-num 100
  on_node "$n" iptables -t mangle -A INPUT -m conntrack --ctstate NEW -s 10.244.0.0/16 -j NFQUEUE --queue-num 100 # from a pod to its own node
}

up() { # [number of nodes]
  local count=${1:-1} rootfs
  if [[ -f $state/pid/apiserver ]] && kill -0 "$(<"$state/pid/apiserver")" 2>/dev/null; then
    if [[ $(nodes | wc -l) == "$count" ]]; then note "already up" && return; fi
    note "already up with $(nodes | wc -l) node(s): first $0 down" && exit 1
  fi
  build
  # Of a cluster whose end was cut off nothing is worth keeping: half an image store takes no image.
  down
  mkdir -p "$state"/{etcd,log,pid,cmd}
  certificates; network
  control_plane
  for ((n = 1; n <= count; n++)); do
    ((n == 1)) || network_of_node_2
    node "$n"
  done
  rootfs=$(mktemp -d) && cp "$bin/pause" "$rootfs/pause" && image docker.io/local/pause:1 "$rootfs" '["/pause"]' && rm -rf "$rootfs"
  for ((n = 1; n <= count; n++)); do wait_for "node $n" 60 kubectl_ wait --for=condition=ready "node/node$n" --timeout=1s; done
  note "ready: $0 kubectl get nodes"
}

broker() {
  local dir=$state/rabbitmq
  if [[ ! -f $state/pid/rabbitmq ]]; then
    mkdir -p "$dir/log" && echo '[].' >"$dir/enabled_plugins"
    printf '%s\n' 'loopback_users = none' 'vm_memory_high_watermark.absolute = 1GB' 'disk_free_limit.absolute = 10MB' >"$dir/rabbitmq.conf"
    # A message whose move to another queue was cut off is moved again after this: three minutes where nothing is said.
    echo '[{rabbit, [{dead_letter_worker_publisher_confirm_timeout, 5000}]}].' >"$dir/advanced.config"
    start epmd /usr/bin/epmd -address 127.0.0.1
    # RUNNING_UNDER_SYSTEMD makes the script exec the Erlang machine, so that the process known here is the broker.
    start rabbitmq env HOME="$dir" LANG=C.UTF-8 RUNNING_UNDER_SYSTEMD=true RABBITMQ_CONF_ENV_FILE="$dir/none.conf" RABBITMQ_CONFIG_FILE="$dir/rabbitmq.conf" \
      RABBITMQ_ADVANCED_CONFIG_FILE="$dir/advanced.config" \
      RABBITMQ_ENABLED_PLUGINS_FILE="$dir/enabled_plugins" RABBITMQ_NODENAME=ks-test@localhost RABBITMQ_NODE_IP_ADDRESS="$node_ip" RABBITMQ_NODE_PORT=5672 \
      RABBITMQ_MNESIA_BASE="$dir/mnesia" RABBITMQ_LOG_BASE="$dir/log" RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS='-kernel inet_dist_use_interface {127,0,0,1}' \
      /usr/lib/rabbitmq/bin/rabbitmq-server
    wait_for RabbitMQ 90 inside bash -c ": </dev/tcp/$node_ip/5672"
  fi
  echo "amqp://guest:guest@$node_ip:5672"
}

stop() { # names, each ended at once
  local name pid
  for name in "$@"; do
    [[ -f $state/pid/$name ]] || continue
    pid=$(<"$state/pid/$name") && rm "$state/pid/$name"
    kill -KILL "$pid" 2>/dev/null || continue
    while grep -qs '^State:\s*[^ZX]' "/proc/$pid/status"; do sleep 0.05; done # its ports are free only then
  done
}

restart() { # names
  for name in "$@"; do
    stop "$name"
    # shellcheck source=/dev/null
    source "$state/cmd/$name"
  done
}

recover() { restart "containerd$1" && wait_for "containerd of node $1" 20 ctr_ "$1" version && restart "kubelet$1" "proxy$1" "netpol$1"; }
cut_off() { inside ip link set to-node2 down; }
heal() { inside ip link set to-node2 up; }

lose() { # node
  stop "kubelet$1" "proxy$1" "netpol$1"
  # All pods at once: one after the other would be many small losses.
  find /sys/fs/cgroup/*/"ks-node$1" -name cgroup.procs -exec cat {} + 2>/dev/null | sort -u | xargs -r kill -KILL 2>/dev/null || true
  sleep 1
  ctr_ "$1" containers ls -q 2>/dev/null | while read -r c; do ctr_ "$1" tasks rm -f "$c"; ctr_ "$1" containers rm "$c"; done >/dev/null 2>&1 || true
  stop "containerd$1"
}

kill_container() { # node, pod's uid, container's name
  # Of one that was restarted the dead ones are still listed.
  for id in $(ctr_ "$1" containers ls -q "labels.\"io.kubernetes.pod.uid\"==$2,labels.\"io.kubernetes.container.name\"==$3"); do
    ! ctr_ "$1" tasks kill -s KILL "$id" 2>/dev/null || return 0
  done
  note "no container $3 runs in the pod $2" && return 1
}

down() {
  [[ -d $state ]] || return 0
  mkdir -p "$state/pid"
  for n in $(nodes); do lose "$n"; done
  stop rabbitmq epmd dns scheduler controller-manager apiserver etcd
  sleep 1
  awk -v s="$state" 'index($2, s) == 1 {print $2}' /proc/mounts | sort -r | xargs -r umount -l
  ip netns list | awk '/^cni-/ {print $1}' | xargs -r -n1 ip netns del
  ip netns del "$netns-2" 2>/dev/null || true
  ip netns del "$netns" 2>/dev/null || true
  for c in /sys/fs/cgroup/*/ks-node[12]; do [[ ! -d $c ]] || find "$c" -depth -type d -exec rmdir {} + 2>/dev/null || true; done
  rm -rf "$state"
}

command=${1:-help} && shift || true
case $command in
  up | down | broker | build | lose | recover | heal | stop | restart) "$command" "$@" ;;
  cut) cut_off ;;
  image) image "$@" ;;
  kubectl) kubectl_ "$@" ;;
  run) inside "$@" ;;
  load-image) for n in $(nodes); do ctr_ "$n" images import "$@"; done ;;
  kill-container) kill_container "$@" ;;
  has-image) for n in $(nodes); do [[ -n $(ctr_ "$n" images ls -q name=="$1") ]] || exit 1; done ;;
  status) for f in "$state"/pid/*; do printf '%-20s %s\n' "${f##*/}" "$(ps -o pid= -o rss= -o etime= -p "$(<"$f")" || echo stopped)"; done ;;
  *) sed -n '2,19p' "${BASH_SOURCE[0]}" && exit 2 ;;
esac
