//! What the kernel and nft can do: asked of them with `nft --check`, which hands a table to the kernel and takes it
//! back. `/sys/module` says nothing about what is built in, and `nf_tables` loads helper modules by itself when asked.
//!
//! Whoever starts waits for this: what most kernels can do all of is asked in one run of nft, and one by one only where the
//! answer to that is no.

use std::collections::BTreeSet;

use super::{Error, conntrack, nft};
use crate::ruleset::{Capabilities, Helper};

/// Everything that the rules of `passthrough.ipsec.many_clients` are made of.
const ZONES: &str = "  map seen {
    typeof @nh,128,32 . @th,0,32 : ct zone
    flags dynamic,timeout; timeout 5s;
  }
  map host {
    typeof ct zone : ip saddr
    flags dynamic,timeout; timeout 5s;
  }
  set rate {
    typeof ether saddr
    flags dynamic,timeout; timeout 5s;
  }
  chain zone {
    type filter hook prerouting priority -310; policy accept;
    fib daddr type unicast ct zone set @nh,112,16
    fib daddr oifname != \"lo\" accept
    icmp type 3 @th,136,8 50 ct zone set @th,192,32 . @th,224,32 map @seen
  }
  chain dstnat {
    type nat hook prerouting priority dstnat; policy accept;
    meta nfproto ipv4 ct zone != 0 dnat ip to ct zone map @host
  }
  chain forward {
    type filter hook forward priority filter; policy accept;
    meta nfproto ipv4 meta l4proto 50 update @seen { @nh,128,32 . @th,0,32 timeout 1s : ct zone }
    update @rate { ether saddr limit rate over 2/second burst 100 packets } drop
    delete @host { ct zone : ip saddr }
  }
";
/// What port forwards are made of, and `ruleset/sources.rs`.
const FORWARDS: &str = "  map port {
    type inet_proto . inet_service : ipv4_addr . inet_service
  }
  map range {
    type inet_proto . inet_service : ipv4_addr
    flags interval
  }
  chain forwards {
    fib saddr . iif oif missing return
    dnat ip to meta l4proto . th dport map @port
    dnat ip to meta l4proto . th dport map @range
  }
  chain dstnat {
    type nat hook prerouting priority dstnat; policy accept;
    fib daddr . iif type local jump forwards
  }
  chain sources {
    type filter hook prerouting priority -310; policy accept;
    fib saddr oifname \"lo\" return
    fib saddr type != unicast drop
  }
";
const EVENTS: &str = "  chain told {
    type filter hook forward priority filter; policy accept;
    ct event set new,destroy,protoinfo
  }
";
/// `ruleset/names.rs`.
const NAMES: &str = "  chain answers {
    type filter hook output priority filter; policy accept;
    udp sport 53 limit rate 200/second burst 400 packets log group 53053
  }
";
/// With an ingress device that every namespace has.
const FLOW_TABLE: &str = "  flowtable fast {
    hook ingress priority filter
    devices = { lo }
  }
";

pub(super) async fn capabilities() -> Result<Capabilities, Error> {
    let all: String = Helper::ALL
        .into_iter()
        .map(Helper::declared)
        .chain([ZONES.into(), FORWARDS.into(), EVENTS.into(), NAMES.into()])
        .collect();
    // Many kernels are built without flow tables.
    let (all, flow_tables) = tokio::join!(taken(&all), taken(FLOW_TABLE));
    let (all, flow_tables) = (all?, flow_tables?);
    // After those questions, which bring conntrack's module.
    let (_, connections) = conntrack::fill();
    if all {
        return Ok(Capabilities { flow_tables, connections, ..Capabilities::everything() });
    }
    // Without the right to ask, every answer would be no.
    nft::check(&table("")).await?;
    let mut helpers = BTreeSet::new();
    for helper in Helper::ALL {
        if taken(&helper.declared()).await? {
            helpers.insert(helper);
        }
    }
    Ok(Capabilities {
        helpers,
        many_clients: taken(ZONES).await?,
        forwards: taken(FORWARDS).await?,
        events: taken(EVENTS).await?,
        names: taken(NAMES).await?,
        connections,
        flow_tables,
    })
}

fn table(inside: &str) -> String {
    format!("table inet postern_probe {{\n{inside}}}\n")
}

async fn taken(inside: &str) -> Result<bool, Error> {
    match nft::check(&table(inside)).await {
        Ok(()) => Ok(true),
        Err(Error::NftRefused(_)) => Ok(false),
        Err(e) => Err(e),
    }
}
