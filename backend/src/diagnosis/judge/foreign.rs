//! Another firewall stands in the way: its rules drop what ours let through, or nobody translates it.

use std::net::IpAddr;

use super::{says, step};
use crate::appliance::Defeated;
use crate::diagnosis::{Cause, Diagnosis, Party};
use crate::ruleset::Defeat;
use crate::sessions::device;

pub(super) fn firewall(one: &Defeated) -> Diagnosis {
    let title = match one.how {
        Defeat::LostOut | Defeat::LostIn => "Another firewall\u{2019}s rule drops it",
        Defeat::Plain => "Nobody translates it",
        Defeat::Untracked => "Another firewall\u{2019}s rule keeps it from being translated",
        Defeat::Helped => "Another firewall\u{2019}s rule attaches another helper",
    };
    let mut said = says(Cause::AnotherFirewall, title, &one.sentence, &one.remedy);
    said.device = Some(device(IpAddr::V4(one.device), None));
    said.server = Some(IpAddr::V4(one.server));
    said.steps = match one.how {
        Defeat::LostOut => vec![
            step(Party::Device, Party::Router, one.title.clone(), true),
            step(Party::Router, Party::Server, "dropped by the other firewall on this box".into(), false),
        ],
        Defeat::LostIn | Defeat::Helped => vec![
            step(Party::Device, Party::Server, one.title.clone(), true),
            step(Party::Server, Party::Router, "its answer".into(), true),
            step(Party::Router, Party::Device, "dropped by the other firewall on this box".into(), false),
        ],
        Defeat::Plain | Defeat::Untracked => vec![
            step(Party::Device, Party::Router, one.title.clone(), true),
            step(Party::Router, Party::Server, "with the device\u{2019}s own address".into(), false),
        ],
    };
    said
}
