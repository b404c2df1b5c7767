//! The end of PPTP calls: their GRE must not outlive them.
//!
//! The kernel's helper takes a call's GRE away when it reads the call's end in the control connection. It does not when
//! that connection just ends: its GRE entries live on as long as its own (nf_conntrack_pptp.c has no other hook than the
//! entry's destruction), let the server's GRE in, and swallow the packets of a new call with the same two Call IDs. So the
//! entry of a control connection that has ended is deleted, and its GRE goes with it.
//!
//! Without the daemon calls go on and can be made, only what is said above is not cleaned; it is at the next start.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::Appliance;
use super::flows::TCP;
use crate::diagnosis::Reset;
use crate::kernel::{Error, Event, Flow, FlowHandle, FlowMatch, Kernel};
use crate::log;
use crate::settings::Settings;
use crate::settings::forwards::Preset;

/// How long a control connection may take from its first FIN to its last ACK, which cannot pass any more once the entry is
/// gone. A second less than a stale pinhole may live.
const GOODBYE: Duration = Duration::from_secs(4);
/// How long to wait before the kernel is asked anew.
const PAUSE: Duration = Duration::from_secs(3);

/// States of nf_conntrack_tcp.h: FIN_WAIT, CLOSE_WAIT, LAST_ACK; TIME_WAIT, CLOSE (a reset).
const CLOSING: [u8; 3] = [4, 5, 6];
const CLOSED: [u8; 2] = [7, 8];

/// Control connections that are ending, each with the moment at which its entry is to go.
#[derive(Debug, Default)]
struct Ending(Vec<(Instant, Flow)>);

impl Ending {
    fn hear(&mut self, event: Event, now: Instant) {
        match event {
            Event::New(flow) | Event::Update(flow) => self.look(flow, now),
            Event::Destroy(flow) => self.forget(&flow),
            // Whoever hears it looks at all of them.
            Event::Missed => {}
        }
    }

    fn look(&mut self, flow: Flow, now: Instant) {
        if flow.protocol != TCP || flow.helper.as_deref() != Some("pptp") {
            return;
        }
        let Some(state) = flow.tcp_state else { return };
        let known = self.0.iter().find(|(_, known)| known.handle == flow.handle).map(|(at, _)| *at);
        let at = if CLOSED.contains(&state) {
            Some(now)
        } else if CLOSING.contains(&state) {
            // From the first FIN, whatever follows.
            Some(known.unwrap_or(now + GOODBYE))
        } else {
            None
        };
        self.forget(&flow);
        self.0.extend(at.map(|at| (at, flow)));
    }

    fn forget(&mut self, flow: &Flow) {
        self.0.retain(|(_, known)| known.handle != flow.handle);
    }

    /// Those whose time has come; they are not among these any more.
    fn due(&mut self, now: Instant) -> Vec<Flow> {
        self.0.extract_if(.., |(at, _)| *at <= now).map(|(_, flow)| flow).collect()
    }

    fn next(&self) -> Option<Instant> {
        self.0.iter().map(|(at, _)| *at).min()
    }
}

/// TCP_CONNTRACK_SYN_SENT and _SYN_RECV, and CLOSE: a reset.
const OPENING: [u8; 2] = [1, 2];
const RESET: u8 = 8;
/// So long it is said that events were lost.
const TOLD: Duration = Duration::from_secs(600);
/// Calls that are being opened, and calls that were refused, of which so many are remembered.
const REMEMBERED: usize = 64;

/// Calls that were answered with a reset before they were open. Their entries are gone at once, so only who listens knows.
#[derive(Debug, Default)]
pub(super) struct Resets {
    opening: VecDeque<FlowHandle>,
    refused: VecDeque<(Instant, IpAddr, IpAddr, u16)>,
    /// When the kernel last told that events were lost.
    missed: Option<Instant>,
}

impl Resets {
    fn hear(&mut self, event: &Event, now: Instant) {
        let (Event::New(flow) | Event::Update(flow) | Event::Destroy(flow)) = event else { return };
        let known = self.opening.iter().position(|handle| *handle == flow.handle);
        if flow.protocol == TCP && flow.tcp_state == Some(RESET) && known.is_some() {
            self.refused.push_back((now, flow.client, flow.server, flow.server_port));
        }
        if let Some(at) = known {
            self.opening.remove(at);
        }
        let opening = |state: u8| OPENING.contains(&state);
        let opens = match event {
            // The first packet was seen before anybody asked to be told: no state comes with it.
            Event::New(_) => flow.tcp_state.is_none_or(opening),
            Event::Update(_) => flow.tcp_state.is_some_and(opening),
            // Here the kernel tells of a reset that was the first answer: the entry is gone with it (`nf_conntrack_tcp_packet`).
            _ => false,
        };
        if opens {
            self.opening.push_back(flow.handle.clone());
        }
        while self.opening.len() > REMEMBERED {
            self.opening.pop_front();
        }
        while self.refused.len() > REMEMBERED {
            self.refused.pop_front();
        }
    }

    /// Events were lost. True: for the first time in a while, so that it is worth a line in the log.
    fn miss(&mut self, now: Instant) -> bool {
        let again = self.missed.is_some_and(|last| now.duration_since(last) < TOLD);
        self.missed = Some(now);
        !again
    }

    /// What the owner is told of lost events, for as long as what is said of calls may lack something because of it.
    pub(super) fn notice(&self, now: Instant) -> Option<String> {
        self.missed.filter(|last| now.duration_since(*last) < TOLD)?;
        Some(
            "More PPTP calls began and ended at once than the kernel could tell of. What it did not tell was read from its table \
             instead; a call that was refused in that moment may be missing from the diagnosis."
                .to_owned(),
        )
    }

    /// The newest of each device and server.
    pub(super) fn told(&self, now: Instant) -> Vec<Reset> {
        let mut all: Vec<Reset> = Vec::new();
        for (at, device, server, port) in self.refused.iter().rev().copied() {
            if !all.iter().any(|one| (one.device, one.server, one.port) == (device, server, port)) {
                all.push(Reset { device, server, port, ago: (now - at).as_secs() });
            }
        }
        all
    }
}

impl<K: Kernel> Appliance<K> {
    /// Ends what is left of PPTP calls that have ended, for ever.
    pub async fn watch_calls(&self) {
        let mut told = None;
        loop {
            if let Err(error) = self.follow_calls().await {
                // Once, not every few seconds: this kernel may have nothing to listen to.
                let why = error.to_string();
                if told.as_ref() != Some(&why) {
                    log::incident(&error);
                    told = Some(why);
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Until the kernel tells no more.
    async fn follow_calls(&self) -> Result<(), Error> {
        // First the ears, then the eyes: what ends in between is heard.
        let mut events = self.kernel.events().await?;
        let mut ending = Ending::default();
        self.look_at_calls(&mut ending).await?;
        loop {
            let due = ending.due(Instant::now());
            if !due.is_empty() {
                self.kernel.end(&due).await?;
            }
            let next = ending.next();
            let in_time = async {
                match next {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                event = events.recv() => match event {
                    None => return Ok(()),
                    Some(Event::Missed) => {
                        if self.resets().miss(Instant::now()) {
                            log::warning("events of PPTP calls were lost; all calls are looked at anew");
                        }
                        self.look_at_calls(&mut ending).await?;
                    }
                    Some(event) => {
                        let now = Instant::now();
                        self.resets().hear(&event, now);
                        ending.hear(event, now);
                    }
                },
                () = in_time => {}
            }
        }
    }

    pub(super) fn resets(&self) -> std::sync::MutexGuard<'_, Resets> {
        self.resets.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    async fn look_at_calls(&self, ending: &mut Ending) -> Result<(), Error> {
        let (_, settings) = self.settings();
        let control = control(&settings);
        let now = Instant::now();
        for flow in self.kernel.observe(&control).await?.flows {
            ending.look(flow, now);
        }
        Ok(())
    }
}

/// Control connections of calls of the home, and to a server of the home.
fn control(settings: &Settings) -> Vec<FlowMatch> {
    let ports = settings.passthrough.pptp.ports.iter().map(|port| port.number());
    let servers = settings.forwards.iter().filter(|forward| forward.enabled);
    let servers = servers.filter(|forward| forward.preset == Some(Preset::Pptp));
    let forwarded = servers.flat_map(|forward| forward.takes()).filter_map(|(_, ports)| Some(ports?.0));
    let mut all: Vec<u16> = ports.chain(forwarded).collect();
    all.sort_unstable();
    all.dedup();
    all.into_iter().map(|port| FlowMatch { protocol: TCP, server_port: Some(port) }).collect()
}

#[cfg(test)]
mod tests;
