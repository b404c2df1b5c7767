//! dnsmasq's lease file: `ends MAC address name client-id`, a line each (lease.c of dnsmasq). What a device calls
//! itself is text of a stranger: what does not read as a lease is left out, what does not read as a name is made
//! harmless.

use super::Lease;

/// Longest name in characters: one DNS label.
const NAME: usize = 63;
/// So many lines are read. dnsmasq is told to write fewer.
const MOST: usize = 5000;

/// Every IPv4 lease to an Ethernet address.
pub fn parse(text: &[u8]) -> Vec<Lease> {
    String::from_utf8_lossy(text).lines().take(MOST).filter_map(line).collect()
}

fn line(line: &str) -> Option<Lease> {
    let mut fields = line.split(' ');
    let (ends, mac, address, name) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    // Five fields, and no more: a name with a blank in it would shift them.
    if fields.next().is_none() || fields.next().is_some() {
        return None;
    }
    let ends: i64 = ends.parse().ok().filter(|ends| *ends >= 0)?;
    Some(Lease {
        mac: mac.parse().ok()?,
        address: address.parse().ok()?,
        name: Some(harmless(name)).filter(|name| !matches!(name.as_str(), "*" | "")),
        ends: Some(ends).filter(|ends| *ends > 0),
    })
}

/// At most [`NAME`] characters, none of which steers a terminal or turns the direction of what follows.
fn harmless(name: &str) -> String {
    let steers = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    name.chars().take(NAME).map(|c| if steers(c) { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_read_with_its_name_and_its_end() {
        let text = "1795000000 02:00:00:00:01:65 192.168.1.101 laptop 01:02:00:00:00:01:65\n\
            0 02:00:00:00:01:66 192.168.1.102 * *\n";
        let leases = parse(text.as_bytes());
        assert_eq!(leases.len(), 2);
        assert_eq!(leases[0].mac.to_string(), "02:00:00:00:01:65");
        assert_eq!((leases[0].name.as_deref(), leases[0].ends), (Some("laptop"), Some(1_795_000_000)));
        assert_eq!((leases[1].name.as_deref(), leases[1].ends), (None, None));
    }

    #[test]
    fn what_is_no_lease_is_left_out() {
        for line in [
            "",
            "duid 00:01:00:01:2b:ee:e4:5d:02:00:00:00:00:01",
            "soon 02:00:00:00:01:65 192.168.1.101 laptop *",
            "-5 02:00:00:00:01:65 192.168.1.101 laptop *",
            "1795000000 06-02:00:00:00:01:65 192.168.1.101 laptop *",
            "1795000000 02:00:00:00:01:65 fd00::1 laptop *",
            "1795000000 02:00:00:00:01:65 192.168.1.101 laptop",
            "1795000000 02:00:00:00:01:65 192.168.1.101 my laptop *",
        ] {
            assert_eq!(parse(line.as_bytes()), [], "{line}");
        }
    }

    #[test]
    fn a_hostile_name_is_short_text_in_one_line() {
        let lease = |name: &[u8]| {
            let text = [b"0 02:00:00:00:01:65 192.168.1.101 ", name, b" *\n"].concat();
            parse(&text).pop().and_then(|lease| lease.name).unwrap()
        };
        assert_eq!(
            lease(b"<script>alert(1)</script>"),
            "<script>alert(1)</script>",
            "text; the page escapes it"
        );
        assert_eq!(lease(b"\x1b[2Jx\x07"), "\u{fffd}[2Jx\u{fffd}");
        assert_eq!(lease("a\u{202e}b".as_bytes()), "a\u{fffd}b");
        assert_eq!(lease(b"\xff\xfe"), "\u{fffd}\u{fffd}");
        assert_eq!(lease(&[b'x'; 300]).chars().count(), 63);
    }
}
