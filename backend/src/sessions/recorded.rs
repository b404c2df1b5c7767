//! Entries as `conntrack -L -o extended,id,ktimestamp` printed them in the lab, read back.

use crate::kernel::{Announcer, Counter, Entries, Entry, Flow, FlowHandle, Timeouts};

/// The file's lines; `master` after an entry names, by its id, the control connection that announced it.
pub(super) fn entries(text: &str) -> Entries {
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    let mut entries: Vec<(Entry, Option<u32>)> = lines.map(entry).collect();
    let tuples: Vec<(u32, Announcer)> = entries
        .iter()
        .map(|(e, _)| {
            let tuple = e.flow.handle.tuple.clone();
            (
                e.flow.handle.id,
                Announcer { protocol: e.flow.protocol, server_port: e.flow.server_port, tuple },
            )
        })
        .collect();
    for (entry, master) in &mut entries {
        let by = tuples.iter().find(|(id, _)| Some(*id) == *master);
        entry.flow.announced_by = by.map(|(_, announcer)| announcer.clone());
    }
    let timeouts = Timeouts { udp: [Some(120), Some(300)], gre: [Some(600), Some(18000)], other: Some(3600) };
    let all = entries.len() as u64;
    Entries {
        entries: entries.into_iter().map(|(e, _)| e).collect(),
        left_out: 0,
        all,
        room: 262_144,
        timeouts,
    }
}

fn entry(line: &str) -> (Entry, Option<u32>) {
    let words: Vec<&str> = line.split_whitespace().collect();
    let all = |name: &str| -> Vec<&str> {
        words.iter().filter_map(|w| w.strip_prefix(name)?.strip_prefix('=')).collect()
    };
    let one = |name: &str, at: usize| all(name).get(at).copied();
    let number = |name: &str, at: usize| one(name, at).map_or(0, |n| n.parse().unwrap());
    let key = |name: &str, at: usize| -> u16 {
        let n = one(name, at).unwrap_or("0");
        n.strip_prefix("0x").map_or_else(|| n.parse().unwrap(), |hex| u16::from_str_radix(hex, 16).unwrap())
    };
    let protocol: u8 = words[3].parse().unwrap();
    let ports = if protocol == 47 { ["srckey", "dstkey"] } else { ["sport", "dport"] };
    let counter = |at| Counter { packets: number("packets", at), bytes: number("bytes", at) };
    let states =
        ["SYN_SENT", "SYN_RECV", "ESTABLISHED", "FIN_WAIT", "CLOSE_WAIT", "LAST_ACK", "TIME_WAIT", "CLOSE"];
    let state = words.iter().find_map(|w| states.iter().position(|s| s == w)).map(|at| at as u8 + 1);
    // Of ICMP the first is part of the tuple.
    let id = all("id").last().map_or(0, |n| n.parse().unwrap());
    let flow = Flow {
        protocol,
        client: one("src", 0).unwrap().parse().unwrap(),
        client_port: key(ports[0], 0),
        server: one("dst", 0).unwrap().parse().unwrap(),
        server_port: key(ports[1], 0),
        zone: number("zone", 0) as u16,
        helper: one("helper", 0).map(str::to_owned),
        announced_by: None,
        answered: !line.contains("[UNREPLIED]"),
        tcp_state: state.filter(|_| protocol == 6),
        sent: counter(0),
        received: counter(1),
        handle: FlowHandle { id, family: 2, tuple: id.to_be_bytes().to_vec() },
    };
    let entry = Entry {
        answers_from: (one("src", 1).unwrap().parse().unwrap(), key(ports[0], 1)),
        since: one("start", 0).map(|n| n.parse().unwrap()),
        rest: words[4].parse().ok(),
        assured: line.contains("[ASSURED]"),
        counted: line.contains("packets="),
        flow,
    };
    (entry, one("master", 0).map(|n| n.parse().unwrap()))
}
