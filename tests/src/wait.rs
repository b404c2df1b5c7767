//! Waiting: always for something, always with a deadline.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long a thing that should happen soon may take on a machine whose processors are somebody else's now and then.
pub const SOON: Duration = Duration::from_secs(30);

/// Asks `ready` again and again; its first `Some`, or none when `limit` has passed.
pub fn until<T>(limit: Duration, mut ready: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + limit;
    loop {
        if let Some(found) = ready() {
            return Some(found);
        }
        if Instant::now() >= end {
            return None;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Milliseconds since 1970: every program of a lab reads the same clock.
#[must_use]
pub fn now_ms() -> u64 {
    now_us() / 1000
}

/// Microseconds since 1970.
#[must_use]
pub fn now_us() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_micros()).unwrap_or(u64::MAX)
}

/// Sleeps until this moment (microseconds since 1970), awake for the last two milliseconds of it: to do something when others do it too.
pub fn moment(at: u64) {
    const AWAKE: u64 = 2_000;
    std::thread::sleep(Duration::from_micros(at.saturating_sub(now_us()).saturating_sub(AWAKE)));
    while now_us() < at {
        std::hint::spin_loop();
    }
}
