//! Messages recorded from Linux 6.18 (little-endian), whole, cut off and damaged.

use super::*;
use crate::kernel::netlink::{damaged, messages, recorded};

/// An established connection to port 1723 with the helper, three packets out and two back.
pub(super) const TCP: &str = "1c0100000001020001000000aa580000020000003400018014000180080001007f000001080002007f0000011c000280\
     050001000600000006000200a62600000600030006bb00003400028014000180080001007f000001080002007f000001\
     1c00028005000100060000000600020006bb000006000300a6260000080003000000200e080008000000000008000c00\
     ef4f92bf08000b0000000001080007000006977f300004802c0001800500010003000000050002000a00000005000300\
     0a000000060004002300000006000500230000001c0009800c00010000000000000000030c00020000000000000000a9\
     1c000a800c00010000000000000000020c000200000000000000007010000580090001007070747000000000";
/// UDP to port 500 in zone 77, without an answer.
pub(super) const ZONE: &str = "e40000000001020001000000aa580000020000003400018014000180080001007f000001080002007f0000021c000280\
     050001001100000006000200cf0100000600030001f400003400028014000180080001007f000002080002007f000001\
     1c00028005000100110000000600020001f4000006000300cf01000006001200004d0000080003000000000808000800\
     0000000008000c00ea53b67c08000b0000000001080007000000001d1c0009800c00010000000000000000010c000200\
     000000000000001d1c000a800c00010000000000000000000c0002000000000000000000";
/// The same in zone 78 for the original direction only.
const ONE_WAY_ZONE: &str = "e40000000001020001000000aa580000020000003c00018014000180080001007f000001080002007f0000041c000280\
     050001001100000006000200cf0100000600030001f4000006000300004e00003400028014000180080001007f000004\
     080002007f0000011c00028005000100110000000600020001f4000006000300cf010000080003000000000808000800\
     0000000008000c00a39cef7608000b0000000001080007000000001e1c0009800c00010000000000000000010c000200\
     000000000000001d1c000a800c00010000000000000000000c0002000000000000000000";
/// UDP to port 4500 of ::1.
pub(super) const SIX: &str = "0c0100000001020001000000aa5800000a0000004c0001802c0001801400030000000000000000000000000000000001\
     14000400000000000000000000000000000000011c000280050001001100000006000200dc9100000600030011940000\
     4c0002802c00018014000300000000000000000000000000000000011400040000000000000000000000000000000001\
     1c0002800500010011000000060002001194000006000300dc9100000800030000000008080008000000000008000c00\
     ca5429c608000b0000000001080007000000001e1c0009800c00010000000000000000010c0002000000000000000031\
     1c000a800c00010000000000000000000c0002000000000000000000";
/// GRE of PPTP, call ID 0x1234.
pub(super) const GRE: &str = "dc0000000001020001000000aa580000020000003400018014000180080001007f000001080002007f0000011c000280\
     050001002f000000060002000000000006000300123400003400028014000180080001007f000001080002007f000001\
     1c000280050001002f000000060002001234000006000300000000000800030000000008080008000000000008000c00\
     14052c4308000b0000000001080007000000001e1c0009800c00010000000000000000010c0002000000000000000024\
     1c000a800c00010000000000000000000c0002000000000000000000";

const ANY: [FlowMatch; 5] = [any(1), any(6), any(17), any(47), any(50)];

const fn any(protocol: u8) -> FlowMatch {
    FlowMatch { protocol, server_port: None }
}

fn port(protocol: u8, port: u16) -> FlowMatch {
    FlowMatch { protocol, server_port: Some(port) }
}

fn parse(hex: &str, wanted: &[FlowMatch]) -> Option<Flow> {
    let bytes = recorded(hex);
    let all: Vec<_> = messages(&bytes).collect();
    assert_eq!(all.len(), 1);
    flow(&all[0], wanted)
}

#[test]
fn a_connection_is_understood() {
    let flow = parse(TCP, &ANY).unwrap();
    assert_eq!((flow.protocol, flow.server_port, flow.zone), (6, 1723, 0));
    assert_eq!(flow.client, Ipv4Addr::LOCALHOST);
    assert_eq!((flow.answered, flow.tcp_state, flow.helper.as_deref()), (true, Some(3), Some("pptp")));
    assert_eq!(
        (flow.sent, flow.received),
        (Counter { packets: 3, bytes: 169 }, Counter { packets: 2, bytes: 112 })
    );
    assert_ne!(flow.handle.id, 0);
    assert_eq!(flow.handle.family, 2);
}

#[test]
fn zones_and_families_are_understood() {
    let (zone, one_way) = (parse(ZONE, &ANY).unwrap(), parse(ONE_WAY_ZONE, &ANY).unwrap());
    assert_eq!((zone.zone, one_way.zone), (77, 78));
    assert!(!zone.answered && zone.tcp_state.is_none() && zone.helper.is_none());
    let six = parse(SIX, &ANY).unwrap();
    assert_eq!((six.server, six.server_port, six.handle.family), (Ipv6Addr::LOCALHOST.into(), 4500, 10));
    let gre = parse(GRE, &ANY).unwrap();
    assert_eq!((gre.protocol, gre.client_port, gre.server_port), (47, 0, 0x1234));
}

#[test]
fn only_what_is_wanted_is_kept() {
    assert!(parse(TCP, &[]).is_none());
    assert!(parse(TCP, &[port(17, 1723), port(6, 80), any(47)]).is_none());
    assert!(parse(TCP, &[port(6, 80), port(6, 1723)]).is_some());
    assert!(parse(ZONE, &[port(17, 500)]).is_some());
}

#[test]
fn foreign_bytes_do_no_harm() {
    for hex in [TCP, ZONE, ONE_WAY_ZONE, SIX, GRE] {
        damaged(&recorded(hex), |message| drop(flow(message, &ANY)));
    }
}

#[test]
fn a_delete_names_its_entry() {
    let flow = parse(ZONE, &ANY).unwrap();
    let bytes = delete(&flow).unwrap().sealed(1);
    let all: Vec<_> = messages(&bytes).collect();
    let inside = &all[0].payload[4..];
    assert_eq!(attribute(inside, CTA_TUPLE_ORIG), Some(&flow.handle.tuple[..]));
    assert_eq!(attribute(inside, CTA_ZONE).and_then(net_u16), Some(77));
    assert_eq!(attribute(inside, CTA_ID).and_then(net_u32), Some(flow.handle.id));
    let whole_table = Flow { handle: FlowHandle::default(), ..flow };
    assert!(delete(&whole_table).is_err());
}
