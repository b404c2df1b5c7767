//! A run of the simulator in a lab, beside the test that started it.

use std::net::Ipv4Addr;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::count::Report;
use super::device::{ADDRESSES, SERVERS};
use super::plan::Plan;
use super::port::Port;
use super::world::{Command, World};
use crate::lab::Lab;
use crate::wait;

/// Clients and servers at work.
#[derive(Debug)]
pub struct Crowd {
    commands: Sender<Command>,
    live: Arc<Mutex<Report>>,
    thread: JoinHandle<Report>,
}

impl Lab {
    /// Lets the clients and servers of `plan` begin. The router must be one already.
    ///
    /// # Panics
    /// When the plan asks for what cannot be played.
    #[track_caller]
    #[must_use]
    pub fn crowd(&self, plan: Plan) -> Crowd {
        assert!((1..=ADDRESSES).contains(&plan.clients), "1 to {ADDRESSES} clients can be played");
        assert!((1..=SERVERS).contains(&plan.servers), "1 to {SERVERS} servers can be played");
        assert!(
            (1..=plan.servers).contains(&plan.servers_each),
            "a client calls 1 to {} servers",
            plan.servers
        );
        assert!(!plan.keys.is_empty() && !plan.patterns.is_empty(), "clients need keys and something to say");
        let (near, far) = (self.host("phone"), self.host("server2"));
        let live = Arc::new(Mutex::new(Report::default()));
        let (commands, receiver) = mpsc::channel();
        let shared = Arc::clone(&live);
        let thread = std::thread::spawn(move || {
            // The thread stays in the second network; its sockets stay where they were opened.
            let lan = Port::open(&near, Ipv4Addr::new(192, 168, 1, 255)).expect("a packet socket in the LAN");
            let wan =
                Port::open(&far, Ipv4Addr::new(203, 0, 113, 255)).expect("a packet socket on the internet");
            World::new(plan, lan, wan).run(&receiver, &shared)
        });
        Crowd { commands, live, thread }
    }

    /// Plays `plan` to its end.
    ///
    /// # Panics
    /// When it cannot be played.
    #[track_caller]
    #[must_use]
    pub fn play(&self, plan: Plan) -> Report {
        self.crowd(plan).finish()
    }
}

impl Crowd {
    /// What has been counted so far.
    #[must_use]
    pub fn report(&self) -> Report {
        self.live.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until the counts are as `wanted`; whether they were in time.
    #[must_use]
    pub fn wait(&self, limit: Duration, wanted: impl Fn(&Report) -> bool) -> bool {
        let ready = || wanted(&self.report());
        wait::until(limit, || (ready() || self.thread.is_finished()).then(ready)).unwrap_or(false)
    }

    /// From now on the router knows nothing of what was: everybody must be served anew, and [`Report::again`] says how fast.
    pub fn forget(&self) {
        let _ = self.commands.send(Command::Forget);
    }

    /// Waits for the plan's end; what was counted.
    ///
    /// # Panics
    /// When the simulator itself has failed.
    #[track_caller]
    #[must_use]
    pub fn finish(self) -> Report {
        // The channel stays open until then: a closed one means that nobody wants to know any more.
        let report = self.thread.join();
        drop(self.commands);
        report.expect("the simulator runs to its end")
    }

    /// Ends it now; what was counted.
    ///
    /// # Panics
    /// When the simulator itself has failed.
    #[track_caller]
    #[must_use]
    pub fn stop(self) -> Report {
        let _ = self.commands.send(Command::Stop);
        self.finish()
    }
}
