//! A whole change of the settings, beside `nft -f` of the same rules.

use std::fs::read_to_string;
use std::time::{Duration, Instant};

use lab::{Lab, Postern};

use super::number;

/// Changes in a row, and how often: turn and turn about with the yardstick, so that a busy moment meets both.
const BATCH: u32 = 20;
const BATCHES: u32 = 4;
/// Kernel clock ticks a second in /proc/PID/stat (USER_HZ, fixed by the kernel's ABI).
const TICKS: u64 = 100;

/// CPU that a process and its ended children have used: fields 14 to 17 of proc(5).
pub(super) fn cpu(pid: u32) -> Duration {
    let stat = read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after = stat.rsplit(") ").next().unwrap_or_default();
    let ticks: u64 = after.split(' ').skip(11).take(4).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 1000 / TICKS)
}

/// A whole change through the command line and the door (tried, saved, applied, read back), beside `nft -f` of the text
/// that it loads, turn and turn about.
pub(super) fn swaps(lab: &Lab, postern: &Postern) -> Result<(), lexopt::Error> {
    let router = lab.router();
    let text = postern.ok(&["rules"]);
    router.write("/run/lab/bench.nft", &text);
    // The table of the yardstick has another name: the daemon would see an edit of its own.
    router.write("/run/lab/yardstick.nft", text.replace("inet postern", "inet yardstick"));
    let daemon = number(&postern.daemon_status("Pid"))?;
    let loop_ = format!("for i in $(seq {BATCH}); do nft -f /run/lab/yardstick.nft || exit 1; done");
    let rules = text.lines().filter(|line| line.contains(" comment \"")).count();
    let [mut ending, mut swap, mut nft] = [(); 3].map(|()| Used::default());
    for _ in 0..BATCHES {
        swap.measure(daemon, || toggle(postern, "firewall.ping"));
        // Off, it looks for calls to end; on, for calls that must redial: each time through the whole conntrack table.
        ending.measure(daemon, || toggle(postern, "passthrough.pptp.enabled"));
        nft.measure(std::process::id(), || drop(router.ok(&["sh", "-c", &loop_])));
    }
    router.ok(&["nft", "delete", "table", "inet", "yardstick"]);
    for (name, change) in [("that ends nothing", swap), ("of what may end calls", ending)] {
        for (what, change, nft) in [
            ("wall, from the command to its answer", change.wall, nft.wall),
            ("CPU, of the daemon with its nft children", change.cpu, nft.cpu),
        ] {
            let ms = |time: Duration| time.as_secs_f64() * 1e3 / f64::from(BATCH * BATCHES);
            println!(
                "a change {name} (tried, saved, applied, read back), {what}: {:.1} ms; nft -f of the same {rules} rules: \
                 {:.1} ms; ratio {:.2}",
                ms(change),
                ms(nft),
                change.as_secs_f64() / nft.as_secs_f64()
            );
        }
    }
    Ok(())
}

/// Switches it on and off, [`BATCH`] changes in a row.
fn toggle(postern: &Postern, key: &str) {
    for round in 0..BATCH {
        postern.set(&[&format!("{key}={}", round % 2 == 0)]);
    }
}

/// Time that a batch of the same work took.
#[derive(Default)]
pub(super) struct Used {
    wall: Duration,
    cpu: Duration,
}

impl Used {
    /// Of all batches.
    pub(super) fn cpu(&self) -> Duration {
        self.cpu
    }

    pub(super) fn measure(&mut self, pid: u32, work: impl FnOnce()) {
        let (before, started) = (cpu(pid), Instant::now());
        work();
        self.wall += started.elapsed();
        self.cpu += cpu(pid).saturating_sub(before);
    }
}
