//! `OpenVPN` at both ends, with a tiny certificate authority of the lab's own.

use std::net::Ipv4Addr;

use crate::host::Host;
use crate::lab::need;
use crate::process::Process;

const FOLDER: &str = "/run/lab/openvpn";

/// One self-signed authority and a certificate for each host that asks. Files that are there stay.
const AUTHORITY: &str = r#"
mkdir -p /run/lab/openvpn; cd /run/lab/openvpn; umask 077
new="openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
[ -e ca.crt ] || $new -x509 -keyout ca.key -out ca.crt -days 3650 -subj /CN=lab
[ -e "$1.crt" ] || {
    $new -keyout "$1.key" -out "$1.csr" -subj "/CN=$1"
    openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -out "$1.crt" -days 3650
}
"#;

#[track_caller]
pub(super) fn serve(host: &Host, inner: Ipv4Addr) -> Process {
    let [a, b, c, _] = inner.octets();
    // Once a second both ends say that they are there; five silent seconds make a client dial again.
    let role =
        format!("port 1194\nserver {a}.{b}.{c}.0 255.255.255.0\ntopology subnet\nkeepalive 1 5\ndh none\n");
    start(host, &role)
}

#[track_caller]
pub(super) fn dial(host: &Host, server: Ipv4Addr) -> Process {
    start(host, &format!("client\nremote {server} 1194\nnobind\nconnect-retry 1 1\n"))
}

#[track_caller]
fn start(host: &Host, role: &str) -> Process {
    need("openvpn", "openvpn");
    need("openssl", "openssl");
    let name = host.name;
    host.ok_with(&["sh", "-eus", name], AUTHORITY);
    let common = format!("dev tun0\nproto udp4\nca ca.crt\ncert {name}.crt\nkey {name}.key\n");
    host.write(&format!("{FOLDER}/{name}.conf"), role.to_owned() + &common);
    host.spawn(&["openvpn", "--cd", FOLDER, "--config", &format!("{name}.conf")])
}
