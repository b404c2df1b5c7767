//! A table as nft lists it, without the order that does not matter.

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
}
