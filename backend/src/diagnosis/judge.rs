//! From what was seen to the verdict. First what concerns everything, then the newest trouble.

mod another;
mod big;
mod foreign;
mod forward;
mod ipsec;
mod pptp;
mod way_back;

use std::net::IpAddr;

use super::{Action, Case, Cause, Diagnosis, Internet, Party, Reset, Step};
use crate::appliance::{Attempt, Barrier, OverShare, Rules};
use crate::sessions::{Kind, Part, Session, State, Traffic, device};

use way_back::no_way_back;

/// Within so many seconds nothing is called silent: TCP and IKE ask again after 1 and 2 s.
const PATIENCE: i64 = 4;
/// Older trouble than this is not told of while something else works.
const RECENT: u64 = 120;
const TCP: u8 = 6;
const UDP: u8 = 17;
const GRE: u8 = 47;
const ESP: u8 = 50;
const AH: u8 = 51;

/// The one verdict.
pub fn diagnose(case: &Case<'_>) -> Diagnosis {
    common(case).unwrap_or_else(|| {
        let mut all = candidates(case);
        // What is wrong now before what works, what works before what was wrong; the newest first.
        all.sort_by_key(|(ago, verdict)| {
            let rank = match (verdict.cause.is_trouble(), *ago) {
                (true, ..=RECENT) => 0,
                (false, _) if verdict.cause == Cause::Works => 1,
                (false, _) => 2,
                (true, _) => 3,
            };
            (rank, *ago)
        });
        all.into_iter().next().map_or_else(|| nothing(case), |(_, verdict)| verdict)
    })
}

fn says(cause: Cause, title: &str, explanation: &str, remedy: &str) -> Diagnosis {
    Diagnosis {
        cause,
        title: title.to_owned(),
        explanation: explanation.to_owned(),
        remedy: remedy.to_owned(),
        action: None,
        device: None,
        server: None,
        server_name: None,
        steps: Vec::new(),
        can_measure: false,
    }
}

fn nothing(case: &Case<'_>) -> Diagnosis {
    let who = case.device.map_or_else(|| "any device".to_owned(), |device| device.to_string());
    says(
        Cause::NothingSeen,
        "Nothing of a VPN has been seen",
        &format!("No packet of a VPN from {who} has come by in the last minutes."),
        "Start the VPN on the device, then look again. If this page still says so, the device does not send: it may use another \
         network (its mobile one), or its VPN uses a port that Postern does not know.",
    )
}

/// What keeps every VPN from working.
fn common(case: &Case<'_>) -> Option<Diagnosis> {
    let broken = |why: &str, action| {
        let mut said = says(
            Cause::RulesDiffer,
            "Postern\u{2019}s rules are not in force",
            why,
            "Put them right, then try again.",
        );
        said.action = action;
        Some(said)
    };
    match case.rules {
        Rules::Loaded => {}
        Rules::NotWanted => {
            return broken("This box has no role yet, so Postern neither passes nor refuses anything.", None);
        }
        Rules::Deny => {
            return broken("Only the safe rules are loaded: nothing is forwarded.", Some(Action::Mend));
        }
        Rules::Missing | Rules::Edited => {
            return broken(
                "Somebody else has changed or removed them; what they do now is not known.",
                Some(Action::Mend),
            );
        }
        Rules::Unknown { reason } => return broken(&format!("They could not be read back: {reason}."), None),
    }
    let why = match case.internet {
        Internet::Up(_) => None,
        Internet::NoPort => Some("The port towards the internet is not chosen, or not there."),
        Internet::NoLink => {
            Some("The port towards the internet has no link: its cable, or the device at the other end.")
        }
        Internet::NoAddress => Some("The port towards the internet has no IPv4 address."),
    };
    if let Some(why) = why {
        let mut said = says(
            Cause::NoInternet,
            "There is no internet at all",
            why,
            "Check the cable and the provider\u{2019}s box first; the VPN comes after.",
        );
        said.steps = vec![step(Party::Router, Party::Server, "nothing can leave".into(), false)];
        return Some(said);
    }
    let (entries, room) = case.conntrack;
    // The kernel drops new connections when the count has reached the limit (`nf_conntrack_alloc`).
    let full = (room > 0 && entries >= room).then(|| {
        says(
            Cause::TableFull,
            "The connection table is full",
            &format!("{entries} connections are known, and no more than {room} fit: nothing new can begin."),
            "Find the device that opens so many (a file exchange, or malware) and stop it; connections are forgotten within minutes.",
        )
    });
    full.or_else(|| {
        let its = |one: &&OverShare| one.again.is_some() && case.device == Some(one.device.address);
        let over = case.over_share.iter().find(its)?;
        let mut said = says(
            Cause::TableFull,
            "This device has too many connections open",
            &over.sentence(),
            "Stop what opens so many on it, or end its connections under Devices; then dial again.",
        );
        said.device = Some(over.device.clone());
        Some(said)
    })
}

/// Every verdict there could be, each with the seconds since it was last seen.
fn candidates(case: &Case<'_>) -> Vec<(u64, Diagnosis)> {
    let meant = |address: IpAddr| case.device.is_none_or(|device| device == address);
    let mut all = Vec::new();
    for one in case.attempts.iter().filter(|one| meant(one.device.address)) {
        all.push((one.last_seconds, refused_here(one)));
    }
    for one in case.defeats.iter().filter(|one| meant(IpAddr::V4(one.device))) {
        all.push((one.last_seconds, foreign::firewall(one)));
    }
    for one in case.resets.iter().filter(|one| meant(one.device)) {
        // It has called again since: what became of that is what counts.
        let again = |s: &&Session| {
            s.kind == Kind::Pptp
                && (s.device.address, s.server) == (one.device, one.server)
                && s.since.is_some_and(|since| case.now - since < one.ago as i64)
        };
        if !case.sessions.iter().any(|s| again(&s)) {
            all.push((one.ago, reset(one)));
        }
    }
    for one in case.sessions.iter().filter(|one| meant(one.device.address)) {
        // What ended says nothing of what is wrong; a reset at its beginning is told above.
        if one.state != State::Ending {
            all.push((one.idle.unwrap_or(0), of_session(one, case)));
        }
    }
    all
}

fn refused_here(one: &Attempt) -> Diagnosis {
    let mut said = match (one.barrier, one.can_switch_on) {
        (Barrier::NotAllowed, _) => says(
            Cause::DeviceNotAllowed,
            &format!("This device may not use {}", one.title),
            &one.sentence(),
            "Allow it if it is one of yours, then dial again. A device that changes its MAC address is another one each time: switch \
             that off on the device for this network.",
        ),
        (Barrier::Limit, _) => says(
            Cause::SessionLimit,
            &format!("Every place for {} is taken", one.title),
            &one.sentence(),
            "End a session that nobody needs (VPN sessions shows them), or raise the limit on the page VPN Passthrough; then dial again.",
        ),
        (Barrier::Off, true) => says(
            Cause::SwitchedOff,
            &format!("{} is switched off here", one.title),
            &one.sentence(),
            &format!("Switch {} on if you want it, then dial again.", one.title),
        ),
        (Barrier::Off, false) => says(
            Cause::HelperMissing,
            &format!("This kernel lacks what {} needs", one.title),
            &one.sentence(),
            "VPN Passthrough names the package to install. Then look again, and dial again.",
        ),
    };
    said.action = match (one.barrier, one.can_switch_on) {
        (Barrier::Off, true) => Some(Action::SwitchOn { key: one.key.clone(), title: one.title.clone() }),
        (Barrier::Off, false) => Some(Action::LookAgain),
        (Barrier::NotAllowed, _) => one.device.mac.clone().map(|mac| Action::AllowDevice { mac }),
        (Barrier::Limit, _) => None,
    };
    said.device = Some(one.device.clone());
    said.server = Some(IpAddr::V4(one.server));
    said.steps = vec![
        step(Party::Device, Party::Router, one.title.clone(), true),
        step(Party::Router, Party::Server, "refused here".into(), false),
    ];
    said
}

fn reset(one: &Reset) -> Diagnosis {
    let mut said = says(
        Cause::ServerRefuses,
        &format!("The server refuses TCP {}", one.port),
        &format!(
            "{} called {} at TCP {}, and was answered with a reset at once.",
            one.device, one.server, one.port
        ),
        "No PPTP server listens there, or a firewall before it refuses. Ask the server\u{2019}s owner, or check the address.",
    );
    said.device = Some(device(one.device, None));
    said.server = Some(one.server);
    said.steps = vec![
        step(Party::Device, Party::Server, format!("TCP {}", one.port), true),
        step(Party::Server, Party::Device, "reset".into(), true),
    ];
    said
}

fn of_session(one: &Session, case: &Case<'_>) -> Diagnosis {
    // No start is told by this kernel: then it is old enough.
    let age = one.since.map_or(i64::MAX, |since| case.now.saturating_sub(since));
    let mut said = match one.kind {
        Kind::Pptp => pptp::pptp(one, case, age),
        Kind::Ike | Kind::IpsecNatT | Kind::IpsecEsp | Kind::IpsecAh | Kind::L2tpIpsec => {
            ipsec::ipsec(one, case, age)
        }
        Kind::L2tp | Kind::L2tpv3 => silent_or_works(one, age, Cause::L2tpSilent),
        Kind::Gre => silent_or_works(one, age, Cause::GreUnanswered),
        Kind::Openvpn | Kind::Wireguard => silent_or_works(one, age, Cause::OtherSilent),
    };
    said = big::weighed(forward::weighed(said, one, case), one, case);
    said.device = Some(one.device.clone());
    said.server = Some(one.server);
    said.server_name.clone_from(&one.server_name);
    said
}

fn works(one: &Session) -> Diagnosis {
    says(
        Cause::Works,
        &format!("{} works", one.kind.title()),
        &format!("Packets go both ways between {} and {}.", one.device.address, one.server),
        "",
    )
    .with(one.parts.iter().filter(|part| part.answered).flat_map(both))
}

fn early(one: &Session) -> Diagnosis {
    says(
        Cause::TooEarly,
        "It has just begun",
        &format!("{} called {} a moment ago.", one.device.address, one.server),
        "Look again in a few seconds.",
    )
}

fn silent_or_works(one: &Session, age: i64, cause: Cause) -> Diagnosis {
    if one.parts.iter().any(|part| part.answered) {
        return works(one);
    }
    if age < PATIENCE {
        return early(one);
    }
    let (who, server, kind) = (one.device.address, one.server, one.kind.title());
    let what = one.parts.first().map(name).unwrap_or_default();
    let (title, remedy) = match cause {
        Cause::L2tpSilent => (
            "The L2TP server does not answer",
            "The address may be wrong, the server down, or it takes L2TP only inside IPsec: most do. Set a shared key in the VPN program.",
        ),
        Cause::GreUnanswered => (
            "GRE leaves, and nothing comes back",
            "There is no PPTP call to it that Postern knows of. Hang up and dial again; a plain GRE tunnel cannot cross NAT unasked.",
        ),
        _ => (
            "The VPN needs nothing of this router, and its server is silent",
            "Nothing here stands in its way. Check the address and the keys in the VPN program (a WireGuard server does not answer a wrong \
             key), or ask the server\u{2019}s owner.",
        ),
    };
    says(
        cause,
        title,
        &format!("{who} sends {what} ({kind}) to {server}; for {age} s nothing has come back."),
        remedy,
    )
    .with(one.parts.iter().map(|part| step(Party::Device, Party::Server, name(part), true)))
    .with([step(Party::Server, Party::Router, "no answer".into(), false)])
}

impl Diagnosis {
    fn with(mut self, steps: impl IntoIterator<Item = Step>) -> Self {
        self.steps.extend(steps);
        self
    }
}

fn step(from: Party, to: Party, what: String, seen: bool) -> Step {
    Step { from, to, what, seen }
}

/// A part that goes both ways.
fn both(part: &Part) -> [Step; 2] {
    let back = part.traffic.map(|t| t.packets_received);
    [
        step(Party::Device, Party::Server, name(part), true),
        step(Party::Server, Party::Device, format!("answered{}", counted(back)), true),
    ]
}

/// What it is and how much the device has sent of it.
fn name(part: &Part) -> String {
    let what = match part.protocol {
        TCP => format!("TCP {}", part.server_port),
        UDP => format!("UDP {}", part.server_port),
        GRE => "GRE".to_owned(),
        ESP => "ESP".to_owned(),
        AH => "AH".to_owned(),
        115 => "L2TPv3".to_owned(),
        other => format!("protocol {other}"),
    };
    what + &counted(part.traffic.map(|t| t.packets_sent))
}

fn counted(packets: Option<u64>) -> String {
    match packets {
        None => String::new(),
        Some(1) => ", 1 packet".to_owned(),
        Some(n) => format!(", {n} packets"),
    }
}

fn sum(parts: &[&Part]) -> Option<Traffic> {
    parts.iter().try_fold(Traffic::default(), |sum, part| Some(sum.plus(part.traffic?)))
}
