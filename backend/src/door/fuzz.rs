//! What the web process sends, for `tests/fuzz`.

use futures_util::FutureExt;
use tokio::sync::Semaphore;

use super::frame;
use super::messages::Request;

/// Frame after frame, until one is refused.
pub(crate) fn requests(mut bytes: &[u8]) {
    let large = Semaphore::new(1);
    let mut next = || {
        let read = frame::read_request::<Request>(&mut bytes, &large).now_or_never();
        read.expect("bytes in memory are there at once")
    };
    while let Ok(Some(request)) = next() {
        // What was understood is understood again, as the same.
        let again = serde_json::to_vec(&request).expect("a request can be written");
        assert_eq!(request, serde_json::from_slice::<Request>(&again).expect("and read"));
    }
}
