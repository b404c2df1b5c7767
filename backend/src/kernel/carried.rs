//! What a device has carried, from /proc/net/dev: that is of our own network namespace, wherever /sys was mounted.

use super::Counter;

/// Received and sent.
pub(super) fn of(device: &str) -> Option<(Counter, Counter)> {
    read(&std::fs::read_to_string("/proc/net/dev").ok()?, device)
}

/// Sixteen numbers a line (net/core/net-procfs.c): bytes and packets received first, sent ninth.
fn read(text: &str, device: &str) -> Option<(Counter, Counter)> {
    let numbers = text.lines().find_map(|line| {
        let (name, numbers) = line.split_once(':')?;
        (name.trim() == device).then_some(numbers)
    })?;
    let numbers: Vec<u64> = numbers.split_whitespace().map_while(|n| n.parse().ok()).collect();
    let counter = |at: usize| Some(Counter { bytes: *numbers.get(at)?, packets: *numbers.get(at + 1)? });
    Some((counter(0)?, counter(8)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_kernel_is_understood_and_no_other() {
        let text = "Inter-|   Receive |  Transmit\n face |bytes packets\n    lo:  10 1 0 0 0 0 0 0 20 2 0 0 0 0 0 0\n\
                    wan0: 1234567 12 0 0 0 0 0 0 89 3 0 0 0 0 0 0\n  wan: 7 1\n";
        let counter = |bytes, packets| Counter { bytes, packets };
        assert_eq!(read(text, "wan0"), Some((counter(1_234_567, 12), counter(89, 3))));
        assert_eq!(read(text, "wan"), None);
        assert_eq!(read(text, "eth0"), None);
        assert!(of("lo").is_some());
    }
}
