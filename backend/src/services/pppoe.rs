//! The PPPoE session: what the daemon asks the root unit for, and what that unit asks pppd for. Between the two runs the
//! border of privilege: only these typed values cross it, and everything else that pppd is told is fixed here.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::settings::internet::Mode;
use crate::settings::names::{Account, IfName, Label, Mtu, Secret};
use crate::settings::{Role, Settings};

/// What Ethernet leaves for a packet inside PPPoE (RFC 2516 section 7). pppd's plugin takes no more.
const MOST: u16 = 1492;
/// Smallest packet that every IPv4 network carries for a host (RFC 791).
const LEAST: u16 = 576;

/// A PPPoE session as it is wanted. Each of its types refuses, when it is read, what could end a quoted word or a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pppoe {
    /// The Ethernet port.
    pub device: IfName,
    /// The account.
    pub user: Account,
    /// Its password.
    pub password: Secret,
    /// Which of the provider's services; none: any.
    pub service: Option<Label>,
    /// Largest packet in bytes, 576 to 1492; what is outside becomes the nearer of the two.
    pub mtu: u16,
}

/// What these settings mean; none: no session.
pub fn pppoe(settings: &Settings) -> Option<Pppoe> {
    let internet = &settings.internet;
    if settings.role != Role::Router || internet.mode != Mode::Pppoe {
        return None;
    }
    Some(Pppoe {
        device: internet.device.clone()?,
        user: internet.pppoe.user.clone()?,
        password: internet.pppoe.password.clone()?,
        service: internet.pppoe.service.clone(),
        mtu: match internet.mtu {
            Mtu::Bytes(bytes) => bytes.clamp(LEAST, MOST),
            Mtu::Auto => MOST,
        },
    })
}

impl Pppoe {
    /// pppd's options, one a line (pppd(8)). `plugin` is the file name of its PPPoE plugin, `up` and `down` are what it calls
    /// with the addresses; all three are the root unit's own.
    pub fn options(&self, plugin: &str, up: &Path, down: &Path) -> String {
        let mut lines = vec![
            format!("plugin {plugin}"),
            // Whatever the port is called, this is a port's name and no option.
            format!("nic-{}", self.device),
            format!("user \"{}\"", self.user),
            format!("password \"{}\"", self.password.reveal()),
        ];
        // The older of the option's two names: pppd 2.4.7 to 2.5 know it.
        lines.extend(self.service.as_ref().map(|name| format!("rp_pppoe_service \"{name}\"")));
        let mtu = self.mtu.clamp(LEAST, MOST);
        lines.extend([
            format!("ifname {}", IfName::pppoe()),
            format!("mtu {mtu}"),
            format!("mru {mtu}"),
            format!("ip-up-script \"{}\"", up.display()),
            format!("ip-down-script \"{}\"", down.display()),
        ]);
        // The provider does not prove itself to us. Routes are the daemon's, and each attempt is one pppd, so that its exit
        // status says why it failed.
        let fixed = [
            "noauth",
            "nodetach",
            "nopersist",
            "maxfail 1",
            "nodefaultroute",
            "noproxyarp",
            "usepeerdns",
            "noipdefault",
            "ipcp-accept-local",
            "ipcp-accept-remote",
            "noaccomp",
            "nopcomp",
            "novj",
            "noccp",
            "default-asyncmap",
            "hide-password",
            "lcp-echo-interval 10",
            "lcp-echo-failure 5",
        ];
        lines.extend(fixed.map(str::to_owned));
        lines.join("\n") + "\n"
    }
}

/// How the session is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum PppoeState {
    /// The root unit does not run.
    NotRunning,
    /// It is being asked for.
    Asking,
    /// It has an address.
    Up,
    /// The last attempt failed; another will come.
    Failed {
        /// For this reason.
        why: PppoeFailure,
    },
}

/// Why an attempt failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum PppoeFailure {
    /// Nobody answered our discovery (RFC 2516 section 5).
    NoServer,
    /// The provider refused the account.
    Refused,
    /// The kernel has no PPP or no PPPoE.
    NoKernel,
    /// pppd or its plugin is not on this box.
    NotInstalled,
    /// Anything else.
    Other {
        /// The last that pppd said, as plain text of at most 200 characters.
        words: String,
    },
}

impl PppoeFailure {
    /// From pppd's exit status (pppd(8), EXIT STATUS) and what it said. The plugin ends pppd with 1 for several reasons, which only
    /// its words tell apart (plugin.c, discovery.c).
    pub fn of(status: Option<i32>, said: &[String]) -> Self {
        let heard = |phrase: &str| said.iter().any(|line| line.contains(phrase));
        match status {
            Some(19) => Self::Refused,
            Some(4) => Self::NoKernel,
            _ if heard("kernel does not support PPP") || heard("Failed to create PPPoE socket") => {
                Self::NoKernel
            }
            _ if heard("Timeout waiting for PADO") || heard("Timeout waiting for PADS") => Self::NoServer,
            _ => {
                let last = said.iter().rev().find(|line| !line.trim().is_empty());
                let status = status.map_or("by a signal".to_owned(), |n| format!("with status {n}"));
                let words =
                    last.map_or_else(|| format!("pppd ended {status}"), |line| format!("pppd said: {line}"));
                Self::Other { words: words.chars().filter(|c| !c.is_control()).take(200).collect() }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::keys::set;
    use crate::settings::tests::router;

    fn wanted() -> Pppoe {
        let mut settings = router();
        for (key, value) in [
            ("internet.mode", "pppoe"),
            ("internet.pppoe.user", "1234#0001@provider.example"),
            ("internet.pppoe.password", "p w'#;$(x)"),
        ] {
            set(&mut settings, key, value).unwrap();
        }
        pppoe(&settings).unwrap()
    }

    fn text(wanted: &Pppoe) -> String {
        wanted.options("pppoe.so", Path::new("/run/p/up"), Path::new("/run/p/down"))
    }

    /// What a hostile daemon could hand over: the JSON with one word replaced.
    fn read(field: &str, word: &str) -> Result<Pppoe, serde_json::Error> {
        let mut json = serde_json::to_value(wanted()).unwrap();
        json[field] = word.into();
        serde_json::from_value(json)
    }

    #[test]
    fn every_value_is_one_word_of_one_line() {
        let text = text(&Pppoe { service: Some("fast lane".parse().unwrap()), ..wanted() });
        assert!(text.contains("\nuser \"1234#0001@provider.example\"\n"), "{text}");
        assert!(text.contains("\npassword \"p w'#;$(x)\"\n"), "{text}");
        assert!(text.contains("\nrp_pppoe_service \"fast lane\"\n"), "{text}");
        assert!(
            text.contains(&format!("\nnic-{}\n", wanted().device)) && text.contains("\nmtu 1492\n"),
            "{text}"
        );
        assert_eq!(pppoe(&router()), None);
    }

    #[test]
    fn a_hostile_daemon_cannot_add_an_option() {
        for word in [
            "x\nconnect /bin/sh",
            "x\rplugin /tmp/evil.so",
            "x\" connect \"/bin/sh",
            "x\\",
            "\0",
            "",
            "x\u{85}connect",
        ] {
            for field in ["user", "password", "service", "device"] {
                assert!(read(field, word).is_err(), "{field} {word:?}");
            }
        }
        for device in ["file /etc/shadow", "/dev/ttyS0", "../x", "a b", "call"] {
            match read("device", device) {
                Ok(read) => assert!(text(&read).contains(&format!("\nnic-{device}\n")), "{device}"),
                Err(_) => assert_ne!(device, "call"),
            }
        }
        assert!(read("connect", "/bin/sh").is_err(), "an unknown field");
        assert!(read("plugin", "/tmp/evil.so").is_err(), "an unknown field");
        let inside = read("user", "plugin connect /bin/sh").unwrap();
        assert!(text(&inside).contains("\nuser \"plugin connect /bin/sh\"\n"), "one quoted word");
        assert_eq!(text(&inside).lines().count(), text(&wanted()).lines().count());
        assert!(text(&Pppoe { mtu: 9, ..wanted() }).contains("\nmtu 576\n"));
        assert!(text(&Pppoe { mtu: u16::MAX, ..wanted() }).contains("\nmtu 1492\n"));
    }

    #[test]
    fn why_it_failed_is_told_by_status_and_words() {
        let of = |status, said: &str| PppoeFailure::of(status, &[said.to_owned()]);
        assert_eq!(of(Some(19), ""), PppoeFailure::Refused);
        assert_eq!(of(Some(1), "Timeout waiting for PADO packets"), PppoeFailure::NoServer);
        let kernel = "Linux kernel does not support PPPoE -- are you running 2.4.x?";
        assert_eq!((of(Some(1), kernel), of(Some(4), "")), (PppoeFailure::NoKernel, PppoeFailure::NoKernel));
        let PppoeFailure::Other { words } = of(Some(10), &format!("\x1b[31m{}", "x".repeat(900))) else {
            panic!()
        };
        assert!(words.len() <= 200 && !words.contains('\x1b'));
        assert_eq!(of(None, ""), PppoeFailure::Other { words: "pppd ended by a signal".into() });
    }
}
