//! Loading rules and reading them back.

use std::net::UdpSocket;
use std::time::Instant;

use postern::kernel::linux::Linux;
use postern::kernel::{Counter, Error, Kernel, Table, nft};

use super::namespace::{kernel_tests, sh};

kernel_tests!(
    what_the_kernel_can,
    a_check_changes_nothing,
    the_table_is_read_back,
    a_refusal_keeps_what_was,
    learnt_elements_cost_nothing
);

const RULES: &str = r#"
add table inet postern { comment "postern schema 2, role router"; }
flush table inet postern
table inet postern {
  counter sent { }
  map learnt {
    typeof ip daddr . udp dport : ct zone; flags dynamic,timeout; timeout 10m; size 65535;
  }
  set allowed { type ether_addr; }
  set places { type ipv4_addr; flags interval; elements = { 10.0.0.0/8, 192.168.0.0/16 } }
  map forwards { type inet_proto . inet_service : ipv4_addr . inet_service; elements = { tcp . 80 : 192.0.2.1 . 8080 } }
  chain output {
    type filter hook output priority 0; policy accept;
    udp dport 9 counter name "sent" update @learnt { ip daddr . udp dport : ct zone } accept comment "discard"
    tcp dport { 22, 80 } accept
    ct state vmap { established : accept, invalid : drop }
  }
}
flush set inet postern allowed
add element inet postern allowed { 02:00:00:00:00:01 }
"#;

async fn table(kernel: &Linux) -> Table {
    kernel.observe(&[]).await.unwrap().table
}

async fn what_the_kernel_can() {
    let can = Linux::new().capabilities().await.unwrap();
    assert_eq!(can.missing(), [], "{can:?}");
    assert_eq!(sh("nft list ruleset"), "", "asking leaves nothing behind");
}

async fn a_check_changes_nothing() {
    nft::check(RULES).await.unwrap();
    assert_eq!(sh("nft list ruleset"), "");
    assert_eq!(table(&Linux::new()).await, Table::default());
    let words = match nft::check("table inet postern {\n  chain a {\n    nonsense here\n  }\n}\n").await {
        Err(Error::NftRefused(words)) => words,
        other => panic!("{other:?}"),
    };
    assert!(words.contains("/dev/stdin:3:5"), "nft says where: {words}");
}

async fn the_table_is_read_back() {
    let kernel = Linux::new();
    nft::commit(RULES).await.unwrap();
    let seen = kernel.observe(&[]).await.unwrap();
    assert!(seen.table.present);
    assert_eq!(seen.table.comment.as_deref(), Some("postern schema 2, role router"));
    assert_eq!(seen.counters.get("sent"), Some(&Counter::default()));

    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for _ in 0..3 {
        let _ = socket.send_to(b"12345678", "127.0.0.1:9");
    }
    let counted = kernel.observe(&[]).await.unwrap();
    assert_eq!(counted.counters["sent"], Counter { packets: 3, bytes: 3 * (20 + 8 + 8) });
    assert!(sh("nft list map inet postern learnt").contains("127.0.0.1 . 9"), "the rule has learnt");
    assert_eq!(counted.table, seen.table, "counts and learnt elements are no edits");
    assert_eq!(table(&Linux::new()).await, seen.table, "nor are they to somebody who lists anew");

    nft::commit(RULES).await.unwrap();
    assert_eq!(table(&kernel).await, seen.table, "the same rules have the same fingerprint");
    sh("nft add table inet foreign; nft delete table inet foreign");
    assert_eq!(table(&kernel).await, seen.table, "another table is another's");

    let mut known = vec![seen.table.fingerprint];
    for edit in [
        "add rule inet postern output udp dport 10 drop",
        "add element inet postern allowed { 02:00:00:00:00:02 }",
        "add element inet postern places { 172.16.0.0/12 }",
        "add element inet postern forwards { tcp . 443 : 192.0.2.1 . 8443 }",
        "add chain inet postern extra",
        "add set inet postern more { type ipv4_addr; }",
        r#"add ct helper inet postern pptp { type "pptp" protocol tcp; l3proto ip; }"#,
        r#"insert rule inet postern output udp dport 11 counter accept comment "one""#,
        r#"insert rule inet postern output udp dport 11 counter accept comment "two""#,
        "delete chain inet postern extra",
        "chain inet postern output { policy drop; }",
    ] {
        sh(&format!("nft '{edit}'"));
        let now = table(&kernel).await.fingerprint;
        assert!(!known.contains(&now), "{edit} goes unnoticed");
        known.push(now);
    }
    let one = sh("nft -a list chain inet postern output | sed -n 's/.*\"one\" # handle //p'");
    sh(&format!("nft delete rule inet postern output handle {one}"));
    assert!(!known.contains(&table(&kernel).await.fingerprint), "a rule that goes is noticed");

    sh("nft delete table inet postern");
    let gone = kernel.observe(&[]).await.unwrap();
    assert_eq!((gone.table, gone.counters.len()), (Table::default(), 0));
}

async fn a_refusal_keeps_what_was() {
    nft::commit(RULES).await.unwrap();
    let kernel = Linux::new();
    let before = table(&kernel).await;
    let bad = format!("{RULES}\nadd rule inet postern output jump nowhere\n");
    assert!(matches!(nft::commit(&bad).await, Err(Error::NftRefused(_))));
    assert_eq!(table(&kernel).await, before);
}

async fn learnt_elements_cost_nothing() {
    nft::commit(RULES).await.unwrap();
    let fresh = table(&Linux::new()).await;
    let timed = |what: &'static str| async move {
        let start = Instant::now();
        let seen = table(&Linux::new()).await;
        println!("listed with {what}: {:?}", start.elapsed());
        seen
    };
    timed("no learnt element").await;
    let elements: Vec<String> =
        (0..60_000).map(|n| format!("10.0.{}.{} . {} : 5", n >> 8, n & 255, 1 + n % 1000)).collect();
    // In a user namespace nft may not enlarge its socket's buffer: 200 kB a transaction.
    for some in elements.chunks(2_000) {
        nft::commit(&format!("add element inet postern learnt {{ {} }}\n", some.join(", "))).await.unwrap();
    }
    assert_eq!(timed("60,000 learnt elements").await, fresh);
    let kernel = Linux::new();
    table(&kernel).await;
    let start = Instant::now();
    assert_eq!(table(&kernel).await, fresh);
    println!("observed again: {:?}", start.elapsed());
}
