//! What the kernel and nft can do: asked of them with `nft --check`, which hands a table to the kernel and takes it
//! back. `/sys/module` says nothing about what is built in, and `nf_tables` loads helper modules by itself when asked.

use super::{Error, nft};
use crate::ruleset::Capabilities;

const NOTHING: &str = "table inet postern_probe {\n}\n";
const PPTP_HELPER: &str = "table inet postern_probe {
  ct helper pptp {
    type \"pptp\" protocol tcp; l3proto ip;
  }
}
";
const EVENTS: &str = "table inet postern_probe {
  chain forward {
    type filter hook forward priority filter; policy accept;
    ct event set new,destroy,protoinfo
  }
}
";
/// Everything that the rules of `passthrough.ipsec.many_clients` are made of.
const ZONES: &str = "table inet postern_probe {
  map seen {
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
}
";

pub(super) async fn capabilities() -> Result<Capabilities, Error> {
    // Without the right to ask, every answer would be no.
    nft::check(NOTHING).await?;
    Ok(Capabilities {
        pptp_helper: taken(PPTP_HELPER).await?,
        many_clients: taken(ZONES).await?,
        events: taken(EVENTS).await?,
    })
}

async fn taken(table: &str) -> Result<bool, Error> {
    match nft::check(table).await {
        Ok(()) => Ok(true),
        Err(Error::NftRefused(_)) => Ok(false),
        Err(e) => Err(e),
    }
}
