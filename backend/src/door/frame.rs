//! Frames: a u32 length (big endian) and that many bytes of JSON.

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::Semaphore;

use super::messages::MAX_FRAME;

/// Why a frame could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The other side is gone.
    #[error("the connection ended")]
    Io(#[from] std::io::Error),
    /// The frame is longer than [`MAX_FRAME`].
    #[error("a frame of {0} bytes is too long")]
    TooLong(usize),
    /// It is not what this protocol says.
    #[error("a frame was not understood")]
    Json(#[from] serde_json::Error),
}

/// The bytes of one frame. An answer can be longer than a request may be (a history): only requests are capped.
pub(super) fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, FrameError> {
    let mut bytes = vec![0; 4];
    serde_json::to_writer(&mut bytes, message)?;
    let length = bytes.len() - 4;
    let header = u32::try_from(length).map_err(|_| FrameError::TooLong(length))?;
    bytes[..4].copy_from_slice(&header.to_be_bytes());
    Ok(bytes)
}

/// Writes one frame.
pub(super) async fn write<T: Serialize>(
    to: &mut (impl AsyncWrite + Unpin),
    message: &T,
) -> Result<(), FrameError> {
    Ok(to.write_all(&encode(message)?).await?)
}

/// Reads one frame of at most `longest` bytes. None: the other side closed between two frames.
pub(super) async fn read<T: DeserializeOwned>(
    from: &mut (impl AsyncRead + Unpin),
    longest: usize,
) -> Result<Option<T>, FrameError> {
    match read_header(from).await? {
        Some(header) => Ok(Some(read_body(from, header, longest).await?)),
        None => Ok(None),
    }
}

/// Reads one request. Of those longer than [`REQUEST`] only as many at once as `large` has places: whoever reaches the socket
/// must not fill the memory.
pub(super) async fn read_request<T: DeserializeOwned>(
    from: &mut (impl AsyncRead + Unpin),
    large: &Semaphore,
) -> Result<Option<T>, FrameError> {
    let Some(header) = read_header(from).await? else { return Ok(None) };
    let _place = match u32::from_be_bytes(header) as usize {
        0..=REQUEST => None,
        _ => large.acquire().await.ok(),
    };
    Ok(Some(read_body(from, header, LARGE).await?))
}

/// None: the other side closed between two frames.
async fn read_header(from: &mut (impl AsyncRead + Unpin)) -> Result<Option<[u8; 4]>, FrameError> {
    let mut header = [0; 4];
    match from.read_exact(&mut header).await {
        Ok(_) => Ok(Some(header)),
        Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => Ok(None),
        Err(e) => Err(e.into()),
    }
}

/// Reads the body that belongs to `header`.
pub(super) async fn read_body<T: DeserializeOwned>(
    from: &mut (impl AsyncRead + Unpin),
    header: [u8; 4],
    longest: usize,
) -> Result<T, FrameError> {
    let length = u32::from_be_bytes(header) as usize;
    if length > longest {
        return Err(FrameError::TooLong(length));
    }
    let mut body = vec![0; length];
    from.read_exact(&mut body).await?;
    Ok(serde_json::from_slice(&body)?)
}

/// Longest request with a backup in it.
const LARGE: usize = 1 << 20;
/// Longest request of any other kind.
pub(super) const REQUEST: usize = MAX_FRAME;
/// Longest answer: 200 revisions, each with the longest lists the settings can hold different.
pub(super) const ANSWER: usize = 4 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::door::messages::{Call, Hello, VERSION};

    #[tokio::test]
    async fn a_frame_comes_back_as_it_went() {
        let bytes = encode(&Hello { version: VERSION }).unwrap();
        let back: Hello = read(&mut bytes.as_slice(), REQUEST).await.unwrap().unwrap();
        assert_eq!(back.version, VERSION);
        assert!(read::<Hello>(&mut [].as_slice(), REQUEST).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn an_endless_frame_is_refused_before_it_is_read() {
        let claim = (MAX_FRAME as u32 + 1).to_be_bytes();
        let refused = read::<Call>(&mut claim.as_slice(), REQUEST).await.unwrap_err();
        assert!(matches!(refused, FrameError::TooLong(_)), "{refused:?}");
        let half = [0, 0, 0, 9, b'{'];
        assert!(matches!(read::<Call>(&mut half.as_slice(), REQUEST).await, Err(FrameError::Io(_))));
        let unknown = encode(&serde_json::json!({"request": {"do": "format_disk"}})).unwrap();
        assert!(matches!(read::<Call>(&mut unknown.as_slice(), REQUEST).await, Err(FrameError::Json(_))));
        let extra = encode(&serde_json::json!({"request": {"do": "status"}, "root": true})).unwrap();
        assert!(matches!(read::<Call>(&mut extra.as_slice(), REQUEST).await, Err(FrameError::Json(_))));
    }
}
