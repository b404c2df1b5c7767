//! strongSwan at both ends: `IKEv2`, a shared key, NAT-T. ESP is made by its plugin kernel-libipsec in user space, which needs
//! no ESP in the kernel and always puts it into UDP 4500.

use std::net::Ipv4Addr;

use crate::host::Host;
use crate::lab::need;
use crate::process::Process;
use crate::wait::{self, SOON};

const CHARON: &str = "/usr/lib/ipsec/charon";
const LIBIPSEC: &str = "/usr/lib/ipsec/plugins/libstrongswan-kernel-libipsec.so";

#[track_caller]
pub(super) fn serve(host: &Host, inner: Ipv4Addr) -> Process {
    let [a, b, c, _] = inner.octets();
    host.ok(&["ip", "addr", "replace", &format!("{inner}/32"), "dev", "lo"]);
    let connection = format!(
        "pools = inner\n local {{ auth = psk\n id = server }}\n remote {{ auth = psk }}
         children {{ lab {{ local_ts = {inner}/32\n esp_proposals = aes128-sha256 }} }}"
    );
    start(host, &connection, &format!("pools {{ inner {{ addrs = {a}.{b}.{c}.101-{a}.{b}.{c}.140 }} }}"))
}

/// A client that asks every second whether its server is still there, and dials again for ever when it is not.
#[track_caller]
pub(super) fn dial(host: &Host, server: Ipv4Addr, inner: Ipv4Addr) -> Process {
    let name = host.name;
    let connection = format!(
        "remote_addrs = {server}\n vips = 0.0.0.0\n dpd_delay = 1\n keyingtries = 0
         local {{ auth = psk\n id = {name} }}\n remote {{ auth = psk\n id = server }}
         children {{ lab {{ remote_ts = {inner}/32\n esp_proposals = aes128-sha256
             start_action = start\n dpd_action = restart\n close_action = start }} }}"
    );
    start(host, &connection, "")
}

/// Two charons cannot share a /run (`charon.pid`): each gets one of its own, with the lab's folder in it.
#[track_caller]
fn start(host: &Host, connection: &str, more: &str) -> Process {
    need(CHARON, "strongswan-charon");
    need(LIBIPSEC, "libcharon-extra-plugins");
    need("swanctl", "strongswan-swanctl");
    let folder = format!("/run/lab/charon-{}", host.name);
    let (settings, door) = (format!("{folder}/strongswan.conf"), format!("unix://{folder}/vici"));
    // Four packets in four seconds, then the peer counts as gone; strongSwan's own times add up to 165 s.
    let daemon = format!(
        "charon {{
            load = random nonce aes sha1 sha2 hmac kdf gmp kernel-libipsec kernel-netlink socket-default vici
            plugins {{ kernel-libipsec {{ load = yes }}\n vici {{ socket = {door} }} }}
            retransmit_timeout = 1\n retransmit_base = 1\n retransmit_tries = 3
            filelog {{ stderr {{ path = stderr\n default = 1\n flush_line = yes }} }}
         }}
         swanctl {{ load = random nonce aes sha1 sha2 hmac kdf pem }}"
    );
    host.write(&settings, daemon);
    let connections = format!(
        "connections {{ lab {{ version = 2\n encap = yes\n proposals = aes128-sha256-modp2048\n {connection} }} }}
         secrets {{ ike-lab {{ secret = \"two words\" }} }}\n{more}"
    );
    host.write(&format!("{folder}/swanctl.conf"), connections);
    let script = format!(
        "rm -rf {folder}/run; mkdir -p {folder}/run/lab; mount --bind /run/lab {folder}/run/lab
         mount --rbind {folder}/run /run; export STRONGSWAN_CONF={settings}; exec {CHARON}"
    );
    let mut process = host.spawn(&["unshare", "--mount", "sh", "-euc", &script]);
    let (variable, file) = (format!("STRONGSWAN_CONF={settings}"), format!("{folder}/swanctl.conf"));
    let load = ["env", &variable, "swanctl", "--load-all", "--file", &file, "--uri", &door];
    let mut said = String::new();
    let loaded = wait::until(SOON, || {
        let output = host.run(&load);
        said = output.out + &output.err;
        (output.code == 0 || process.ended().is_some()).then_some(output.code == 0)
    });
    assert_eq!(loaded, Some(true), "charon on {} takes no settings:\n{said}\n{}", host.name, process.said());
    process
}
