//! xl2tpd at both ends. This kernel has neither L2TP nor PPP, so xl2tpd carries the frames itself, to our stand-in for pppd.

use std::net::Ipv4Addr;

use super::pptp::STAND_IN;
use crate::host::Host;
use crate::lab::need;
use crate::process::Process;

#[track_caller]
pub(super) fn serve(host: &Host, inner: Ipv4Addr) -> Process {
    let [a, b, c, _] = inner.octets();
    let section = format!(
        "[lns default]\nip range = {a}.{b}.{c}.101-{a}.{b}.{c}.140\nlocal ip = {inner}\n\
         require authentication = no\nrefuse authentication = yes\n"
    );
    start(host, &section)
}

#[track_caller]
pub(super) fn dial(host: &Host, server: Ipv4Addr) -> Process {
    let section = format!(
        "[lac lab]\nlns = {server}\nautodial = yes\nredial = yes\nredial timeout = 1\nrequire authentication = no\n"
    );
    start(host, &section)
}

/// xl2tpd knows no other pppd than `/usr/sbin/pppd`: the stand-in is mounted over it, for this process alone.
#[track_caller]
fn start(host: &Host, section: &str) -> Process {
    need("xl2tpd", "xl2tpd");
    let folder = format!("/run/lab/xl2tpd-{}", host.name);
    host.write(&format!("{folder}/conf"), format!("[global]\nport = 1701\n{section}"));
    host.replace("/run/lab/bin/pppd-stand-in", STAND_IN, 0o755);
    let script = format!(
        "rm -f {folder}/pid; mount --bind /run/lab/bin/pppd-stand-in /usr/sbin/pppd
         exec xl2tpd -D -c {folder}/conf -p {folder}/pid -C {folder}/control"
    );
    host.spawn(&["unshare", "--mount", "sh", "-euc", &script])
}
