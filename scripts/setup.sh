#!/bin/sh
# Installs what a part of the project needs and the machine has not: setup.sh quickstart|test|bench [quickstart arguments]
# As root it installs; otherwise it says what is missing and fails.
set -eu

part=${1:?quickstart, test or bench}
shift
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

# program:package
needs="cc:gcc ip:iproute2 unshare:util-linux setpriv:util-linux ping:iputils-ping nft:nftables tcpdump:tcpdump"
case "$part" in
quickstart)
    case " $* " in
    *frr*) needs="$needs /usr/lib/frr/bgpd:frr" ;;
    *tortie*) ;;
    *) needs="$needs bird:bird2" ;;
    esac
    ;;
test)
    needs="$needs conntrack:conntrack kill:procps bird:bird2 /usr/lib/frr/bgpd:frr gobgpd:gobgpd gobgp:gobgpd exabgp:exabgp bgpctl:openbgpd"
    ;;
bench)
    needs="$needs bird:bird2 /usr/lib/frr/bgpd:frr /usr/lib/cni/ptp:containernetworking-plugins"
    ;;
esac

missing=
for need in $needs; do
    command -v "${need%:*}" >/dev/null || missing="$missing ${need#*:}"
done

if ! command -v cargo >/dev/null; then
    echo "cargo is missing: install a Rust toolchain (https://rustup.rs)" >&2
    exit 1
fi
if [ "$part" = test ]; then
    for component in rustfmt clippy; do
        case $component in rustfmt) tool=cargo-fmt ;; *) tool=cargo-clippy ;; esac
        command -v $tool >/dev/null && continue
        rustup component add $component
    done
fi

[ -n "$missing" ] || exit 0
if [ "$(id -u)" != 0 ]; then
    echo "missing Debian packages; as root: apt-get install$missing" >&2
    exit 1
fi
echo "installing$missing"
# The routers are for the labs alone: the packages must not start them on this machine.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
    printf '#!/bin/sh\nexit 101\n' >$policy
    chmod 755 $policy
    trap 'rm -f $policy' EXIT
fi
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086
apt-get install -qq -y --no-install-recommends $missing >/dev/null 2>&1 || {
    apt-get update -qq
    apt-get install -qq -y --no-install-recommends $missing >/dev/null
}
