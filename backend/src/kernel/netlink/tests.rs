//! What is written is read; what lies does no harm.

use super::*;

#[test]
fn what_is_written_is_read() {
    let request = Request::new(20, &[2, 24, 0, 0]).word(3, "lan").attribute(1, &[1, 2, 3, 4]);
    let bytes = request.sealed(7);
    let all: Vec<_> = messages(&bytes).collect();
    assert_eq!(all.len(), 1);
    assert_eq!((all[0].kind, all[0].sequence, all[0].flags), (20, 7, 5));
    let inside: Vec<_> = attributes(&all[0].payload[4..]).collect();
    assert_eq!(inside, [(3, &b"lan\0"[..]), (1, &[1, 2, 3, 4][..])]);
    assert_eq!(word(inside[0].1), Some("lan"));
}

#[test]
fn kinds_are_read_without_flags() {
    let request = Request::new(20, &[]).nested(3, &[]);
    assert_eq!(attributes(&request.bytes[HEADER..]).next(), Some((3, &[][..])));
}

#[test]
fn lengths_that_lie_end_the_reading() {
    for length in [0u32, 1, 15, 17, u32::MAX] {
        let mut bytes = Request::new(20, &[]).sealed(1);
        bytes[0..4].copy_from_slice(&length.to_ne_bytes());
        assert_eq!(messages(&bytes).count(), 0, "{length}");
    }
    for length in [0u16, 3, 9, u16::MAX] {
        let mut bytes = vec![0; 8];
        bytes[0..2].copy_from_slice(&length.to_ne_bytes());
        assert_eq!(attributes(&bytes).count(), 0, "{length}");
    }
}

#[test]
fn a_verdict_is_zero_or_an_error() {
    let of = |kind, payload: &[u8]| verdict(&Message { kind, flags: 0, sequence: 0, payload });
    assert!(of(NLMSG_ERROR, &0i32.to_ne_bytes()).is_ok());
    assert!(of(NLMSG_DONE, &[]).is_ok());
    assert!(of(NLMSG_ERROR, &[1]).is_err());
    assert_eq!(of(NLMSG_ERROR, &(-2i32).to_ne_bytes()).unwrap_err().kind(), io::ErrorKind::NotFound);
    assert!(of(NLMSG_DONE, &i32::MIN.to_ne_bytes()).is_err());
}
