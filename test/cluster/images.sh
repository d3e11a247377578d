#!/usr/bin/env bash
# Builds the files of deploy/images without a registry, on bases made here, and imports the images into the nodes of the cluster.
#
#   images.sh build     builds what has changed since the last time
#   images.sh import    builds, imports into every node of the running cluster, and prints the images' tag
#
# The bases are Debian's, as no registry of images is asked: debootstrap's smallest system with Node.js 24 and 18 out of node_modules,
# CPython 3.9 where .ci/run has put it (else Debian's), and Debian's Go 1.19. Needs root.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
project=$(cd "$here/../.." && pwd)
cache=${CLUSTER_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/kube-serverless-cluster}/images
repository=docker.io/kube-serverless
# Another number where a base is made another way.
bases=localhost/base-2
names=(server runtime-nodejs18 runtime-python39 runtime-go119)
[[ ! -d $project/runtimes/go/builder ]] || names+=(runtime-go119-builder)
note() { printf '%s\n' "$*" >&2; }

# A store of its own, which nothing else on the machine sees.
buildah_() { buildah --root "$cache/store" --runroot "$cache/run" --storage-driver "${STORAGE_DRIVER:-overlay}" "$@"; }
has() { buildah_ inspect --type image "$1" >/dev/null 2>&1; }

# Other contents, another tag: pods with the old image stay known by it.
contents() {
  (cd "$project" && {
    cat "$here/images.sh" deploy/images/*.{Dockerfile,ts} .dockerignore package-lock.json
    find packages runtimes -type f -not -path '*/node_modules/*' -not -name '*.test.ts' -not -path '*/__pycache__/*' -print0 | sort -z | xargs -0 sha256sum
  }) | sha256sum | cut -c1-12
}

tag=$(contents)

debian() {
  local image=$bases/debian:bookworm folder=$cache/debian
  has "$image" && return
  note "making a Debian to build on (two minutes, once)"
  rm -rf "$folder" && mkdir -p "$cache"
  debootstrap --variant=minbase --include=ca-certificates bookworm "$folder" >"$cache/debootstrap.log"
  rm -rf "$folder"/var/{cache/apt,lib/apt/lists,log} "$folder"/usr/share/{doc,man,locale,info}
  from_folder "$image" localhost/none "$folder" /
  rm -rf "$folder"
}

from_folder() { # image base folder target
  local image=$1 base=$2 folder=$3 target=$4
  printf 'FROM %s\nCOPY . %s\nENV PATH=/usr/local/go/bin:/usr/local/bin:/usr/bin:/bin\n' "${base/localhost\/none/scratch}" "$target" |
    buildah_ build --quiet --isolation chroot -t "$image" -f - "$folder" >/dev/null
}

base_of_node() { # major version, folder of the package
  local image=$bases/node:$1 folder
  has "$image" && return
  folder=$(mktemp -d) && mkdir -p "$folder"/{bin,lib/node_modules}
  cp "$project/node_modules/$2/bin/node" "$folder/bin/node"
  if (($1 == 24)); then
    cp -r "$(npm root -g)/npm" "$folder/lib/node_modules/npm"
    ln -s ../lib/node_modules/npm/bin/npm-cli.js "$folder/bin/npm"
  fi
  chmod -R a+rX "$folder"
  from_folder "$image" $bases/debian:bookworm "$folder" /usr/local && rm -rf "$folder"
}

base_of_python() {
  local image=$bases/python:3.9 folder python
  has "$image" && return
  folder=$(mktemp -d)
  python=$(ls -d "${XDG_CACHE_HOME:-$HOME/.cache}"/kube-serverless/cpython-*/org/bytedeco/cpython/linux-*/bin/python3.9 2>/dev/null | head -1 || true)
  [[ -n $python ]] || { note "CPython 3.9 is missing: .ci/run says where it comes from" && exit 1; }
  cp -r "$(dirname "$(dirname "$python")")/." "$folder"
  ln -sf python3.9 "$folder/bin/python3"
  chmod -R a+rX "$folder" && chmod +x "$folder"/bin/python3*
  from_folder "$image" $bases/debian:bookworm "$folder" /usr/local && rm -rf "$folder"
}

base_of_go() {
  local image=$bases/golang:1.19 folder
  has "$image" && return
  folder=$(mktemp -d) && mkdir "$folder/go"
  cp -rL /usr/lib/go-1.19/. "$folder/go" && rm -rf "$folder"/go/{test,api}
  # Debian's Go takes its time zones from the system.
  mkdir -p "$folder/go/lib/time"
  (cd /usr/share/zoneinfo && python3 -c 'import sys, zipfile, glob, os
with zipfile.ZipFile(sys.argv[1], "w", zipfile.ZIP_STORED) as archive:
    for name in glob.glob("**", recursive=True):
        if os.path.isfile(name): archive.write(name)' "$folder/go/lib/time/zoneinfo.zip")
  from_folder "$image" $bases/debian:bookworm "$folder" /usr/local && rm -rf "$folder"
}

build_one() { # image file base, and further arguments
  local image=$repository/$1:$tag name=$1 file=$2 base=$3 && shift 3
  has "$image" && return
  note "building $name"
  # npm asks the machine's registry, with the machine's authorities, and finds in its cache what was there before.
  buildah_ build --quiet --layers --isolation chroot --build-arg BASE="$base" "$@" --build-arg NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt \
    --volume /etc/ssl/certs:/etc/ssl/certs:ro --volume "$HOME/.npm:/root/.npm" \
    -t "$image" -f "$project/deploy/images/$file.Dockerfile" "$project" >/dev/null
}

build() {
  debian
  base_of_node 24 "node-linux-$(node_arch)"
  base_of_node 18 "nodejs18-linux-$(node_arch)"
  base_of_python
  base_of_go
  build_one server server $bases/node:24
  build_one runtime-nodejs18 nodejs $bases/node:18
  build_one runtime-python39 python $bases/python:3.9
  build_one runtime-go119 go $bases/golang:1.19
  [[ ! -d $project/runtimes/go/builder ]] || build_one runtime-go119-builder go-builder $bases/golang:1.19 --build-arg NODE=$bases/node:24 --build-arg SYSTEM=$bases/debian:bookworm
}

node_arch() { case $(uname -m) in aarch64) echo arm64 ;; *) echo x64 ;; esac; }

import() {
  local name image archive=$cache/image.tar
  build
  for name in "${names[@]}"; do
    image=$repository/$name:$tag
    "$here/cluster.sh" has-image "$image" && continue
    rm -f "$archive"
    buildah_ push --quiet "$image" "oci-archive:$archive:$image"
    "$here/cluster.sh" load-image "$archive" >/dev/null
  done
  rm -f "$archive"
  echo "$tag"
}

case ${1:-help} in
  build | import) "$1" ;;
  *) sed -n '2,9p' "${BASH_SOURCE[0]}" && exit 2 ;;
esac
