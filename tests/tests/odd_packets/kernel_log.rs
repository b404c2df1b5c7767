//! What the kernel says meanwhile.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;

use rustix::fs::OFlags;

const LOG: &str = "/dev/kmsg";
/// Warning (4) and worse: printk's levels (Documentation/ABI/testing/dev-kmsg).
const WARNING: u32 = 4;
/// What begins so is about the machine that runs this, which may be busy: nothing that a packet does.
const MACHINE: [&str; 7] = ["hrtimer:", "workqueue:", "clocksource:", "rcu:", "perf:", "sched:", "watchdog:"];

/// The kernel's log from now on. It is that of the whole machine.
pub struct KernelLog(File);

impl KernelLog {
    /// Begins to listen, and proves that a warning is heard.
    #[track_caller]
    pub fn open() -> Self {
        let open =
            OpenOptions::new().read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(LOG);
        let mut file = open.unwrap_or_else(|error| panic!("{LOG} cannot be read: {error}"));
        file.seek(SeekFrom::End(0)).expect("the log has an end");
        let mut log = Self(file);
        let proof =
            format!("postern's lab ({}): this warning proves that warnings are heard", std::process::id());
        let mut own = OpenOptions::new().write(true).open(LOG).expect("root may write to the log");
        own.write_all(format!("<{WARNING}>{proof}\n").as_bytes()).expect("root may write to the log");
        assert!(log.warnings().iter().any(|line| line.contains(&proof)), "a warning is heard");
        log
    }

    /// Warnings since the last look. A table that another lab of this machine has filled is not ours, nor how often it was said.
    pub fn warnings(&mut self) -> Vec<String> {
        let mut found = Vec::new();
        let mut record = [0; 8192];
        loop {
            let length = match self.0.read(&mut record) {
                Ok(length) => length,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return found,
                // Records were overwritten before they were read: that is many, and none of them was seen.
                Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {
                    found.push("the log ran over".into());
                    continue;
                }
                Err(error) => panic!("{LOG}: {error}"),
            };
            let text = String::from_utf8_lossy(&record[..length]).into_owned();
            let level = text.split(',').next().and_then(|level| level.parse::<u32>().ok());
            let message = text.split_once(';').map_or("", |(_, message)| message);
            let others = ["table full", "callbacks suppressed"].iter().any(|words| message.contains(words));
            let machine = MACHINE.iter().any(|word| message.starts_with(word));
            if level.is_some_and(|level| level % 8 <= WARNING) && !others && !machine {
                found.push(message.lines().next().unwrap_or_default().to_owned());
            }
        }
    }
}
