#!/bin/sh
# Build dist/appliance_VERSION_amd64.deb from dist/appliance.pyz (which build.sh makes): the file, the systemd unit and
# the configuration. Needs dpkg-deb, which every Debian has. The same input gives the same bytes.
set -eu
cd "$(dirname "$0")/.."
. packaging/environment.sh

[ -f dist/appliance.pyz ] || { environment; build; }
command -v dpkg-deb >/dev/null 2>&1 || die "dpkg-deb is needed: a package is built on Debian or Ubuntu"

version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' appliance/__init__.py)
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
chmod 755 "$root"
umask 022
mkdir -p "$root/DEBIAN" "$root/usr/bin" "$root/usr/lib/systemd/system" "$root/etc/appliance" "$root/usr/share/doc/appliance"
cp dist/appliance.pyz "$root/usr/bin/appliance"
sed -e 's|/usr/local/bin/|/usr/bin/|' -e '/^# Install:/,/^#$/d' packaging/appliance.service >"$root/usr/lib/systemd/system/appliance.service"
cp config/appliance.toml "$root/etc/appliance/appliance.toml"
cp README.md CHANGELOG.md "$root/usr/share/doc/appliance/"
chmod 755 "$root/usr/bin/appliance"
chmod 644 "$root/usr/lib/systemd/system/appliance.service" "$root/etc/appliance/appliance.toml" "$root/usr/share/doc/appliance/"*

cat >"$root/DEBIAN/control" <<CONTROL
Package: appliance
Version: $version
Architecture: amd64
Section: admin
Priority: optional
Maintainer: GPU appliance maintainers <maintainers@localhost>
Depends: python3 (>= 3.11), python3 (<< 3.14), libc6 (>= 2.34)
Installed-Size: $(du -sk "$root/usr" "$root/etc" | awk '{size += $1} END {print size}')
Description: shows, shares and keeps alive the GPUs of this host
 One process that reads this machine's GPUs, CPU, memory, disks and network, keeps their history, and shows them live
 in a browser and over an API. Everything about a vendor or an API is a plugin.
CONTROL
echo /etc/appliance/appliance.toml >"$root/DEBIAN/conffiles"

# Nothing is started unasked: a server that opens a port is enabled by its operator.
cat >"$root/DEBIAN/postinst" <<'SCRIPT'
#!/bin/sh
set -e
if [ "$1" = configure ] && [ -d /run/systemd/system ]; then
    systemctl daemon-reload || true
    if systemctl --quiet is-active appliance.service; then
        systemctl restart appliance.service || true
    elif [ -z "$2" ]; then
        echo "appliance: start it with: systemctl enable --now appliance && appliance setup-link"
    fi
fi
SCRIPT
cat >"$root/DEBIAN/prerm" <<'SCRIPT'
#!/bin/sh
set -e
if [ "$1" = remove ] && [ -d /run/systemd/system ]; then
    systemctl --quiet disable --now appliance.service || true
fi
SCRIPT
# Purge takes what we made, and says so in its name: data goes with it, as for any Debian server.
cat >"$root/DEBIAN/postrm" <<'SCRIPT'
#!/bin/sh
set -e
if [ "$1" = purge ]; then
    rm -rf /var/cache/appliance /var/lib/appliance /var/lib/appliance-workers /etc/appliance
fi
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload || true
fi
SCRIPT
chmod 755 "$root/DEBIAN/postinst" "$root/DEBIAN/prerm" "$root/DEBIAN/postrm"

# The file is compressed already. dpkg-deb stamps what it packs with this time.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-315532800}
export SOURCE_DATE_EPOCH
find "$root" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
package=dist/appliance_${version}_amd64.deb
dpkg-deb --root-owner-group -Zgzip -z1 --build "$root" "$package" >/dev/null
say "built $package"
