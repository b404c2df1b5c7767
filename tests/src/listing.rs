//! A table as nft lists it, without the order that does not matter and without what it has learnt.

use std::collections::BTreeSet;

/// The parts of a table that `nft list table` printed: each chain with its rules in their order, each counter, set and helper.
/// nft lists objects in the order in which they were made, which says nothing.
#[must_use]
pub fn parts(listing: &str) -> BTreeSet<String> {
    let mut parts = BTreeSet::new();
    let mut part = String::new();
    for line in listing.lines().filter(|line| !line.is_empty()) {
        part.push_str(line);
        part.push('\n');
        // A part begins and ends one tab deep; what stands there alone is a part too.
        let deep = line.starts_with("\t\t");
        if !deep && !line.ends_with('{') {
            parts.insert(std::mem::take(&mut part));
        } else if !line.starts_with('\t') {
            part.clear();
        }
    }
    parts
}

/// A listing without the elements of the sets and maps that the rules fill by themselves (`flags dynamic,timeout`): they come and go with
/// the traffic, and say nothing of what was set.
#[must_use]
pub fn without_learnt(listing: &str) -> String {
    let (mut kept, mut learns, mut inside) = (String::new(), false, false);
    for line in listing.lines() {
        let text = line.trim_start();
        match text.split_whitespace().next() {
            Some("set" | "map" | "chain") => learns = false,
            Some("flags") => learns = text.contains("dynamic"),
            Some("elements") => inside = learns,
            _ => {}
        }
        if !inside {
            kept.push_str(line);
            kept.push('\n');
        }
        inside &= !text.ends_with('}');
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHAIN: &str = "\tchain f {\n\t\taccept\n\t\tdrop\n\t}\n";
    const COUNTER: &str = "\tcounter c {\n\t}\n";

    fn table(parts: &[&str]) -> String {
        format!("table inet t {{\n\tcomment \"x\"\n{}}}\n", parts.join("\n"))
    }

    #[test]
    fn the_order_of_parts_does_not_matter_and_that_of_rules_does() {
        let one = parts(&table(&[CHAIN, COUNTER]));
        assert_eq!(one, parts(&table(&[COUNTER, CHAIN])));
        assert_eq!(one.len(), 4, "{one:?}");
        let turned = CHAIN.replace("accept\n\t\tdrop", "drop\n\t\taccept");
        assert_ne!(one, parts(&table(&[&turned, COUNTER])));
        assert_ne!(one, parts(&table(&[CHAIN])));
    }

    #[test]
    fn what_was_learnt_is_left_out_and_what_was_set_is_not() {
        let set = |flags: &str, elements: &str| {
            format!("\tset s {{\n\t\ttype ipv4_addr\n\t\tflags {flags}\n{elements}\t}}\n")
        };
        let elements = "\t\telements = { 192.168.1.2 timeout 1d expires 23h,\n\t\t\t     192.168.1.3 timeout 1d expires 23h }\n";
        let learns = |elements| table(&[&set("dynamic,timeout", elements), CHAIN]);
        assert_eq!(without_learnt(&learns(elements)), learns(""));
        let fixed = table(&[&set("interval", elements), CHAIN]);
        assert_eq!(without_learnt(&fixed), fixed);
    }
}
