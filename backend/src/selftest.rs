//! The self-test: proves on *this* kernel, with packets, that each feature of VPN passthrough works, and that off means off.
//!
//! In three throw-away networks ([`crate::kernel::scratch`]) devices of a home and a server on the internet speak through a
//! router that holds the rules which `ruleset` makes from the settings at hand. No packet leaves the process's own networks, and
//! no rule or setting of the box is touched. Each experiment has networks of its own, so that none inherits what another has
//! taught the kernel. See [`process`] for how it is run.

mod ends;
mod ipsec;
mod l2tp;
mod off;
mod pptp;
pub mod process;

use serde::{Deserialize, Serialize};

use crate::kernel::Error;
use crate::kernel::scratch::{PORTS, Scratch};
use crate::ruleset::{self, Capabilities};
use crate::settings::passthrough::{Allowed, SessionLimit};
use crate::settings::{Passthrough, Role, Settings};

/// One thing that is put to the test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// Two PPTP calls with one Call ID to one server.
    Pptp,
    /// IKE on port 500, two devices, one server.
    Ike,
    /// Raw ESP, two devices, one server.
    Esp,
    /// IPsec with NAT traversal on port 4500, two devices, one server.
    NatTraversal,
    /// L2TP whose server answers from another port, two devices.
    L2tp,
    /// PPTP is refused when it is off.
    PptpOff,
    /// L2TP is refused when it is off.
    L2tpOff,
    /// IPsec is refused when it is off.
    IpsecOff,
}

impl Subject {
    /// In the order in which they are tested.
    pub const ALL: [Self; 8] = [
        Self::Pptp,
        Self::L2tp,
        Self::Ike,
        Self::Esp,
        Self::NatTraversal,
        Self::PptpOff,
        Self::L2tpOff,
        Self::IpsecOff,
    ];

    /// What it is, for the owner.
    pub fn title(self) -> &'static str {
        match self {
            Self::Pptp => "PPTP: two devices with the same Call ID to one server",
            Self::L2tp => "L2TP: two devices, and a server that answers from another port",
            Self::Ike => "IPsec: two devices negotiate from port 500 with one server",
            Self::Esp => "IPsec: ESP of two devices to one server",
            Self::NatTraversal => "IPsec: NAT traversal of two devices to one server",
            Self::PptpOff => "PPTP off means off",
            Self::L2tpOff => "L2TP off means off",
            Self::IpsecOff => "IPsec off means off",
        }
    }

    /// Whether these settings ask for it. Off is tested whatever they say.
    fn wanted(self, passthrough: &Passthrough) -> bool {
        match self {
            Self::Pptp => passthrough.pptp.enabled,
            Self::L2tp => passthrough.l2tp.enabled,
            Self::Ike | Self::Esp => passthrough.ipsec.enabled,
            Self::NatTraversal => passthrough.ipsec.enabled && passthrough.ipsec.nat_traversal,
            Self::PptpOff | Self::L2tpOff | Self::IpsecOff => true,
        }
    }
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Seen to work.
    Works,
    /// Seen not to.
    Fails,
    /// Off in these settings, so there is nothing to prove.
    SwitchedOff,
    /// It cannot be tested here.
    Untested,
}

/// One result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tested {
    /// What was tested.
    pub subject: Subject,
    /// The same for the owner; see [`Subject::title`].
    pub title: String,
    /// What came of it.
    pub outcome: Outcome,
    /// What was seen; if it fails, what was sent and not seen; if it is not tested, why, and what would help.
    pub words: String,
}

impl Tested {
    fn new(subject: Subject, outcome: Outcome, words: impl Into<String>) -> Self {
        Self { subject, title: subject.title().to_owned(), outcome, words: words.into() }
    }

    /// Not tested, because of that.
    pub fn untested(subject: Subject, words: impl Into<String>) -> Self {
        Self::new(subject, Outcome::Untested, words)
    }
}

/// How an experiment ends without success.
enum Stop {
    /// What is promised was seen not to hold.
    Fails(String),
    /// It cannot be tested here.
    Untested(String),
    /// The scratch networks broke.
    Broken(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Broken(error)
    }
}

/// What an experiment has seen, in a sentence.
type Seen = Result<String, Stop>;

fn fails<T>(words: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Fails(words.into()))
}

/// The rules that settings ask for, as nft text.
pub type Rules<'a> = &'a (dyn Fn(&Settings, &Capabilities) -> String + Sync);

/// The rules that the daemon would load.
pub fn our_rules(settings: &Settings, capabilities: &Capabilities) -> String {
    ruleset::compile(settings, capabilities).to_string()
}

/// What every experiment needs.
struct Bench<'a> {
    passthrough: Passthrough,
    rules: Rules<'a>,
}

impl Bench<'_> {
    /// Networks whose router holds the rules of `passthrough`.
    fn lay(&self, passthrough: &Passthrough) -> Result<(Scratch, Capabilities), Stop> {
        let scratch = Scratch::make(ruleset::sysctls(&settings(passthrough)?))?;
        let capabilities = scratch.capabilities()?;
        self.load(&scratch, passthrough, &capabilities)?;
        Ok((scratch, capabilities))
    }

    fn load(&self, scratch: &Scratch, with: &Passthrough, capabilities: &Capabilities) -> Result<(), Stop> {
        Ok(scratch.load(&(self.rules)(&settings(with)?, capabilities))?)
    }
}

/// A router with this passthrough and nothing else of the owner's: the devices of the experiments are nobody the owner knows, so
/// who may use passthrough, and how many, is left out.
fn settings(passthrough: &Passthrough) -> Result<Settings, Stop> {
    let device = |name: &str| name.parse().map_err(|_| Stop::Untested(format!("{name} is no name")));
    let mut settings = Settings { role: Role::Router, ..Settings::default() };
    settings.passthrough = Passthrough {
        devices: Allowed::Everyone,
        priority: Vec::new(),
        session_limit: SessionLimit::default(),
        ..passthrough.clone()
    };
    settings.local_network.devices = vec![device(PORTS[0])?];
    settings.internet.device = Some(device(PORTS[1])?);
    Ok(settings)
}

/// Tests everything, one after the other, and tells each result when it is there. `rules` are [`our_rules`], or in a test wrong
/// ones. The calling thread must have the right to make network namespaces; it is not moved into one.
pub fn run(passthrough: &Passthrough, rules: Rules<'_>, mut tell: impl FnMut(Tested)) {
    let bench = Bench { passthrough: passthrough.clone(), rules };
    for subject in Subject::ALL {
        tell(one(&bench, subject));
    }
}

fn one(bench: &Bench<'_>, subject: Subject) -> Tested {
    if !subject.wanted(&bench.passthrough) {
        return Tested::new(subject, Outcome::SwitchedOff, "It is off in these settings.");
    }
    let seen = match subject {
        Subject::Pptp => pptp::calls(bench),
        Subject::L2tp => l2tp::answers(bench),
        Subject::Ike => ipsec::ike(bench),
        Subject::Esp => ipsec::esp(bench),
        Subject::NatTraversal => ipsec::nat_traversal(bench),
        Subject::PptpOff => off::pptp(bench),
        Subject::L2tpOff => off::l2tp(bench),
        Subject::IpsecOff => off::ipsec(bench),
    };
    match seen {
        Ok(words) => Tested::new(subject, Outcome::Works, words),
        Err(Stop::Fails(words)) => Tested::new(subject, Outcome::Fails, words),
        Err(Stop::Untested(words)) => Tested::untested(subject, words),
        // Rules that the kernel does not take are no accident of the scratch networks.
        Err(Stop::Broken(Error::NftRefused(words))) => {
            Tested::new(subject, Outcome::Fails, format!("The kernel refused the rules: {words}"))
        }
        Err(Stop::Broken(error)) => Tested::untested(subject, why(&error)),
    }
}

/// An error with its causes.
fn why(error: &dyn std::error::Error) -> String {
    let mut words = format!("The test networks failed: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        words = format!("{words}: {error}");
        cause = error.source();
    }
    words + "."
}
