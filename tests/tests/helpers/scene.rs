//! A router, a server and an attacker, and ears on two laptops.

use std::net::Ipv4Addr;

use lab::{Ear, Forged, Lab, Postern, Process, address, hex, wait};
use serde_json::Value;

/// What a program of the home announces.
pub const WANTED: u16 = 4444;

const POST: &[u8] = b"POST / HTTP/1.1\r\nHost: attacker\r\nContent-Length: 9999\r\n\r\n";

pub struct Scene {
    pub lab: Lab,
    pub postern: Postern,
    pub router: Ipv4Addr,
    pub server: Ipv4Addr,
    ears: [(&'static str, Ear); 2],
}

impl Scene {
    pub fn new() -> Self {
        let lab = Lab::new();
        let postern = lab.postern_router();
        let ears = ["laptop1", "laptop2"].map(|name| (name, lab.host(name).ear()));
        let (router, server) = (address("router"), address("server1"));
        Self { lab, postern, router, server, ears }
    }

    /// What is true of a helper.
    #[track_caller]
    pub fn helper(&self, name: &str) -> Value {
        let status = self.postern.json(&["status"]);
        let all = status["helpers"].as_array().cloned().unwrap_or_default();
        let found = all.into_iter().find(|one| one["helper"] == name);
        found.unwrap_or_else(|| panic!("the status has no helper {name}: {status}"))
    }

    /// Somebody of the internet sends one packet to the router's address; which laptops it reached.
    #[track_caller]
    pub fn knock(&self, from: &str, packet: &Forged) -> Vec<&'static str> {
        let before: Vec<usize> = self.ears.iter().map(|(_, ear)| ear.forged().len()).collect();
        self.lab.host(from).forge(std::slice::from_ref(packet), 100);
        // What might still be on its way has arrived when this has.
        let ping = self.lab.host("laptop1").run(&["ping", "-c", "2", "-i", "0.2", &self.server.to_string()]);
        assert!(ping.ok(), "{}", ping.out);
        let after = self.ears.iter().zip(before);
        after.filter(|((_, ear), before)| ear.forged().len() > *before).map(|((name, _), _)| *name).collect()
    }

    /// A TCP knock at a port of the router, from an address of the internet that is called so.
    #[track_caller]
    pub fn tcp(&self, from: &str, port: u16) -> Vec<&'static str> {
        self.knock(from, &Forged::syn((address(from), 40_000), (self.router, port)))
    }

    /// The same by UDP.
    #[track_caller]
    pub fn udp(&self, from: &str, port: u16) -> Vec<&'static str> {
        self.knock(from, &Forged::udp((address(from), 40_000), (self.router, port), b"anything"))
    }

    /// A web page makes a browser of the home POST this to `server1`, in a segment of its own. Both hold the connection.
    #[track_caller]
    pub fn posts(&self, laptop: &str, port: u16, body: &[u8]) -> [Process; 2] {
        let ok = hex(b"ok\r\n");
        let server = format!("hear\nsay {ok}\nhear\nsay {ok}\n");
        let page = format!("say {}\nhear\nsay {}\nhear\n", hex(POST), hex(body));
        let mut server = self.lab.host("server1").tcp_answers(port, &server);
        let mut page = self.lab.host(laptop).tcp_says((self.server, port), &page);
        page.wait_for_line("done", wait::SOON);
        server.wait_for_line("done", wait::SOON);
        [page, server]
    }

    /// What conntrack expects now.
    pub fn expectations(&self) -> String {
        self.lab.router().ok(&["conntrack", "-L", "expect"])
    }
}
