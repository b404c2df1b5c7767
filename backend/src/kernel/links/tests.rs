//! Messages recorded from Linux 6.18 (little-endian), understood and sent back.

use super::*;
use crate::kernel::netlink::recorded;

/// lan0 up with carrier (its statistics cut away), its address with a label, a default route with a metric, and a
/// route that came with an address.
const LINK: &str = "640000001000020001000000aa58000000000100030000004310010000000000090003006c616e300000000008000d00\
     e8030000050010000600000008000400dc05000005002100010000000a0001006a62a190952b00000a000200ffffffff\
     ffff0000";
const ADDRESS: &str = "540000001400020001000000aa5800000218800003000000080001000a000001080002000a0000010d0003006c616e30\
     3a6f6c6400000000080008008000000014000600ffffffffffffffff9fd704009fd70400";
const DEFAULT: &str = "3c0000001800020001000000aa58000002000000fe1000010000000008000f00fe000000080006006400000008000500\
     0a0000fe0800040003000000";
const CONNECTED: &str = "3c0000001800020001000000aa58000002180000fe02fd010000000008000f00fe000000080001000a00000008000700\
     0a0000010800040003000000";

fn message(bytes: &[u8]) -> Message {
    match NetlinkMessage::deserialize(bytes).unwrap().payload {
        NetlinkPayload::InnerMessage(message) => message,
        other => panic!("{other:?}"),
    }
}

/// What follows the netlink header when it is sent.
fn sent(request: Request) -> Vec<u8> {
    let mut message = NetlinkMessage::from(request.message);
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes.split_off(16)
}

#[test]
fn a_device_is_understood() {
    let lan = device(message(&recorded(LINK))).unwrap();
    assert_eq!((lan.name.as_str(), lan.index, lan.up, lan.carrier), ("lan0", 3, true, true));
    assert_eq!(lan.mac, Some([0x6a, 0x62, 0xa1, 0x90, 0x95, 0x2b]));
    assert!(device(message(&recorded(ADDRESS))).is_none());
}

#[test]
fn an_address_is_sent_back_as_it_came() {
    let address = address(message(&recorded(ADDRESS))).unwrap();
    assert_eq!((address.ip.to_string().as_str(), address.prefix, address.global), ("10.0.0.1", 24, true));
    assert_eq!(sent(address.add()), recorded(ADDRESS)[16..]);
    assert_eq!(sent(address.delete()), recorded(ADDRESS)[16..]);
}

#[test]
fn a_route_is_sent_back_without_news() {
    let found = route(message(&recorded(DEFAULT))).unwrap();
    assert_eq!((found.default, found.metric, found.device), (true, 100, Some(3)));
    assert_eq!(found.gateway, Some(Ipv4Addr::new(10, 0, 0, 254)));
    let mut dead = recorded(DEFAULT);
    dead[16 + 8] |= 0x11; // RTNH_F_DEAD, RTNH_F_LINKDOWN
    assert_eq!(sent(route(message(&dead)).unwrap().add()), recorded(DEFAULT)[16..]);
    assert!(route(message(&recorded(CONNECTED))).is_none(), "the kernel makes it with the address");
}

#[test]
fn foreign_bytes_do_no_harm() {
    for whole in [LINK, ADDRESS, DEFAULT].map(recorded) {
        let read = |bytes: &[u8]| {
            let Ok(message) = NetlinkMessage::<Message>::deserialize(bytes) else { return };
            let NetlinkPayload::InnerMessage(message) = message.payload else { return };
            device(message.clone());
            address(message.clone());
            route(message);
        };
        for at in 0..whole.len() {
            let mut short = whole[..at].to_vec();
            if let Some(field) = short.get_mut(0..4) {
                field.copy_from_slice(&(at as u32).to_ne_bytes());
            }
            read(&short);
            for byte in [0, 1, 3, 4, 5, 8, 0x7f, 0x80, 0xff] {
                let mut odd = whole.clone();
                odd[at] = byte;
                read(&odd);
            }
        }
    }
}

#[test]
fn what_is_new_has_all_it_needs() {
    let bytes = |address: &str| sent(new_address(3, address.parse().unwrap()).add());
    let with_broadcast = [
        &[2, 24, 0, 0, 3, 0, 0, 0, 8, 0, 1, 0, 10, 0, 0, 1][..],
        &[8, 0, 2, 0, 10, 0, 0, 1, 8, 0, 4, 0, 10, 0, 0, 255],
    ];
    assert_eq!(bytes("10.0.0.1/24"), with_broadcast.concat());
    // RFC 3021: a /31 has no broadcast address.
    assert_eq!(bytes("10.0.0.1/31").len(), 8 + 8 + 8);
    let route = sent(new_default_route(3, Ipv4Addr::new(10, 0, 0, 254), true).add());
    // main table, static, universe, unicast, RTNH_F_ONLINK
    assert_eq!(route[..12], [2, 0, 0, 0, 254, 4, 0, 1, 4, 0, 0, 0]);
    assert_eq!(route[12..], [8, 0, 5, 0, 10, 0, 0, 254, 8, 0, 4, 0, 3, 0, 0, 0]);
    // only IFF_UP, to this
    assert_eq!(sent(set_up(3, true))[4..16], [3, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0]);
    assert_eq!(sent(set_up(3, false))[4..16], [3, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]);
}

#[test]
fn a_verdict_is_zero_or_an_error() {
    assert!(no(0).is_none());
    assert_eq!(no(-2).unwrap().kind(), io::ErrorKind::NotFound);
    assert!(no(i32::MIN).is_some());
}
