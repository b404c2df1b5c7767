//! HTTP/1.1, as little as the tests need: one exchange per connection.

use std::io::{BufRead, BufReader, Error, ErrorKind, Result, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Longest wait for an answer.
const LIMIT: Duration = Duration::from_secs(50);

/// What is asked.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Request {
    /// Where the server listens.
    pub to: SocketAddr,
    /// For example `GET`.
    pub method: String,
    /// For example `/login`.
    pub path: String,
    /// Name and value, `Host` included; sent as they are.
    pub headers: Vec<(String, String)>,
    /// Sent with its length, if not empty or not a GET.
    pub body: String,
}

/// What was answered.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Response {
    /// For example 303.
    pub status: u16,
    /// Name in lower case and value.
    pub headers: Vec<(String, String)>,
    /// As text.
    pub body: String,
}

impl Response {
    /// First header of this name (in lower case).
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Every header of this name (in lower case).
    pub fn headers_named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Sends `request` from where this process is, and reads the whole answer.
///
/// # Errors
/// No connection, or no HTTP.
pub fn exchange(request: &Request) -> Result<Response> {
    let mut stream = TcpStream::connect_timeout(&request.to, Duration::from_secs(5))?;
    stream.set_read_timeout(Some(LIMIT))?;
    let mut text = format!("{} {} HTTP/1.1\r\n", request.method, request.path);
    for (name, value) in &request.headers {
        text += &format!("{name}: {value}\r\n");
    }
    if !request.body.is_empty() || request.method != "GET" {
        text += &format!("Content-Length: {}\r\n", request.body.len());
    }
    text += "Connection: close\r\n\r\n";
    text += &request.body;
    stream.write_all(text.as_bytes())?;
    read(&mut BufReader::new(stream))
}

fn read(stream: &mut impl BufRead) -> Result<Response> {
    let bad = |what: &str| Error::new(ErrorKind::InvalidData, what.to_owned());
    let status = line(stream)?.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status = status.ok_or_else(|| bad("the first line of the answer has no status"))?;
    let mut headers = Vec::new();
    loop {
        let line = line(stream)?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').ok_or_else(|| bad("a header line without a colon"))?;
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let mut response = Response { status, headers, body: String::new() };
    let mut body = Vec::new();
    if response.header("transfer-encoding").is_some_and(|value| value.contains("chunked")) {
        loop {
            let size = usize::from_str_radix(line(stream)?.split(';').next().unwrap_or_default().trim(), 16);
            let size = size.map_err(|_| bad("a chunk without its size"))?;
            let before = body.len();
            body.resize(before + size, 0);
            stream.read_exact(&mut body[before..])?;
            line(stream)?;
            if size == 0 {
                break;
            }
        }
    } else if let Some(length) = response.header("content-length").and_then(|value| value.parse().ok()) {
        body.resize(length, 0);
        stream.read_exact(&mut body)?;
    } else if status != 204 && status != 304 {
        stream.read_to_end(&mut body)?;
    }
    response.body = String::from_utf8_lossy(&body).into_owned();
    Ok(response)
}

fn line(stream: &mut impl BufRead) -> Result<String> {
    let mut text = String::new();
    if stream.read_line(&mut text)? == 0 {
        return Err(Error::from(ErrorKind::UnexpectedEof));
    }
    Ok(text.trim_end().to_owned())
}

/// `a b&c` as it stands in a form's body.
#[must_use]
pub fn percent_encode(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => out.push(char::from(byte)),
            b' ' => out.push('+'),
            _ => out += &format!("%{byte:02X}"),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunked_body_is_put_together() {
        let bytes = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
        let response = read(&mut &bytes[..]).expect("it is well formed");
        assert_eq!((response.status, response.body.as_str()), (200, "abcde"));
    }

    #[test]
    fn form_values_are_encoded_byte_by_byte() {
        assert_eq!(percent_encode("a b&ä"), "a+b%26%C3%A4");
    }
}
