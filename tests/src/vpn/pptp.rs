//! Real PPTP: pptp-linux calls pptpd. Only pppd is a stand-in (`stand-ins/pppd` says why).

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use rustix::process::Signal;

use super::PATIENCE;
use crate::host::Host;
use crate::lab::Lab;
use crate::process::Process;
use crate::topology::address;
use crate::wait::{self, SOON};

pub(super) const STAND_IN: &str = include_str!("../../stand-ins/pppd");

/// pptpd on a server, with a port of its own choice.
#[derive(Debug)]
pub struct PptpServer {
    host: Host,
    process: Process,
    /// Address of the server inside every call.
    pub inner: Ipv4Addr,
}

impl PptpServer {
    /// PIDs are not its business; this says whether pptpd still runs.
    #[must_use]
    pub fn runs(&mut self) -> bool {
        self.process.ended().is_none()
    }

    /// Kills pptpd and what it started for each call. The kernel closes their connections.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Calls that are up here now: the devices of the stand-in.
    #[must_use]
    pub fn open_calls(&self) -> usize {
        self.host.ok(&["ip", "-o", "link", "show", "type", "tun"]).lines().count()
    }
}

/// How a call is made.
#[derive(Debug, Clone)]
pub struct CallOptions {
    /// Port the server listens on.
    pub port: u16,
    /// Every call made so has the same Call ID.
    pub same_call_id: bool,
    /// Seconds after which a call is given up that gets no PPP answer.
    pub patience: u32,
}

impl Default for CallOptions {
    fn default() -> Self {
        Self { port: 1723, same_call_id: false, patience: 20 }
    }
}

/// A PPTP call of a client; ends when dropped.
#[derive(Debug)]
pub struct Call {
    host: Host,
    process: Process,
    port_rewritten: bool,
}

impl Call {
    /// Waits until the call is up; the client's address in it, or why it failed.
    ///
    /// # Errors
    /// Everything pptp and the stand-in said, when the call has ended.
    ///
    /// # Panics
    /// When it is neither up nor over after 40 s.
    #[track_caller]
    pub fn outcome(&mut self) -> Result<Ipv4Addr, String> {
        let decided = wait::until(Duration::from_secs(40), || {
            let ended = self.process.ended().is_some();
            let said = self.process.err();
            let up =
                said.iter().find_map(|line| line.split_once(" local ")?.1.split(' ').next()?.parse().ok());
            up.map(Ok).or_else(|| ended.then(|| Err(self.process.said())))
        });
        decided.unwrap_or_else(|| panic!("the call neither came up nor failed:\n{}", self.process.said()))
    }

    /// Waits until the call is up.
    ///
    /// # Panics
    /// When it fails, with what pptp said.
    #[track_caller]
    pub fn wait_up(&mut self) -> Ipv4Addr {
        match self.outcome() {
            Ok(address) => address,
            Err(said) => panic!("the call should have come up:\n{said}"),
        }
    }

    /// Whether a ping comes back through the call. Who asks expects one: what is lost is sent again for as long as a busy machine
    /// may need, and the first answer ends it.
    #[must_use]
    pub fn ping(&self, inner: Ipv4Addr) -> bool {
        self.host.pings(inner, PATIENCE)
    }

    /// Whether no ping comes back through the call, all of three seconds long.
    #[must_use]
    pub fn silent(&self, inner: Ipv4Addr) -> bool {
        !self.host.pings(inner, "3")
    }

    /// Pings through the call 20 times a second; the lines begin with the time of each answer.
    #[must_use]
    pub fn ping_on(&self, inner: Ipv4Addr) -> Process {
        self.host.ping_on(inner)
    }

    /// What pptp and the stand-in said.
    #[must_use]
    pub fn said(&self) -> String {
        self.process.said()
    }

    /// Waits until the call has ended by itself.
    #[must_use]
    pub fn ends_within(&mut self, limit: Duration) -> bool {
        self.process.wait_end(limit).is_some()
    }

    /// Hangs up in good order, if it has not ended, and waits for the end.
    pub fn hang_up(&mut self) {
        if self.process.ended().is_some() {
            return;
        }
        self.process.signal(Signal::TERM);
        self.process.wait_end(SOON);
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if self.port_rewritten && !std::thread::panicking() {
            let _ = self.host.run(&["nft", "delete", "table", "ip", "lab_pptp"]);
        }
    }
}

impl Lab {
    /// Starts pptpd on `server`, reachable on `port` (pptpd itself only knows 1723: the server's own kernel rewrites).
    ///
    /// # Panics
    /// When it does not start.
    #[track_caller]
    #[must_use]
    pub fn pptp_server(&self, server: &str, port: u16) -> PptpServer {
        let host = self.host(server);
        let pppd = self.script("pppd-stand-in", STAND_IN);
        let last = address(server).octets()[3];
        let folder = format!("/run/lab/pptpd-{server}");
        host.write(&format!("{folder}/options"), "lcp-max-configure 20\n");
        let calls = format!("localip 10.99.{last}.1\nremoteip 10.99.{last}.101-140\n");
        host.write(&format!("{folder}/pptpd.conf"), calls);
        if port != 1723 {
            rewrite(&host, "prerouting", &format!("tcp dport {port} redirect to :1723"));
        }
        let (conf, options) = (format!("{folder}/pptpd.conf"), format!("{folder}/options"));
        let pid = format!("{folder}/pid");
        let words =
            ["pptpd", "--fg", "--conf", &conf, "--option", &options, "--ppp", &pppd, "--pidfile", &pid];
        let mut process = host.spawn(&words);
        let listens = wait::until(SOON, || {
            let list = host.ok(&["ss", "-Hltn", "sport", "=", ":1723"]);
            (!list.is_empty() || process.ended().is_some()).then_some(!list.is_empty())
        });
        assert_eq!(listens, Some(true), "pptpd on {server} did not start:\n{}", process.said());
        PptpServer { host, process, inner: Ipv4Addr::new(10, 99, last, 1) }
    }
}

impl Host {
    /// Calls `server` with pptp-linux.
    #[track_caller]
    #[must_use]
    pub fn pptp_call(&self, server: impl Into<IpAddr>, options: &CallOptions) -> Call {
        let port_rewritten = options.port != 1723;
        if port_rewritten {
            let rule = format!("tcp dport 1723 dnat to :{}", options.port);
            rewrite(self, "output", &rule);
        }
        // Another call may be reading both just now.
        self.replace("/run/lab/bin/pppd-stand-in", STAND_IN, 0o755);
        self.replace("/run/lab/constant", [0x5a; 4096], 0o644);
        // pptp keeps its call manager's socket in /run/pptp: each client needs one of its own. Its Call ID comes from
        // /dev/random.
        let same = if options.same_call_id { "mount --bind /run/lab/constant /dev/random;" } else { "" };
        let (server, patience) = (server.into(), options.patience);
        let script = format!(
            "mkdir -p /run/pptp; mount -t tmpfs call /run/pptp; {same}
             exec /run/lab/bin/pppd-stand-in ifname ppp%d lcp-max-configure {patience} \
                  pty 'exec pptp {server} --nolaunchpppd --nohostroute --loglevel 2'"
        );
        let process = self.spawn(&["unshare", "--mount", "sh", "-euc", &script]);
        Call { host: self.clone(), process, port_rewritten }
    }
}

fn rewrite(host: &Host, hook: &str, rule: &str) {
    let priority = if hook == "output" { "-100" } else { "dstnat" };
    let table = format!(
        "table ip lab_pptp {{}}\ndelete table ip lab_pptp
         table ip lab_pptp {{ chain c {{ type nat hook {hook} priority {priority}; {rule}; }}\n}}"
    );
    host.ok_with(&["nft", "-f", "-"], &table);
}
