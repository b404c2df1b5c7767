//! How the model numbers addresses, SPIs and cookies, and how it counts time.

/// The world is this big: addresses, SPIs and cookies are numbered from these.
pub(super) const CLIENTS: usize = 3;
/// SAs that one client makes with one server.
pub(super) const GENERATIONS: usize = 2;
/// SPIs that nobody has.
pub(super) const FORGED: usize = 1;
pub(super) const LAN: u64 = 0xc0a8_0101;
pub(super) const SERVERS: u64 = 0xc633_6401;
pub(super) const SPIS: u64 = 0x1000;
pub(super) const COOKIES: u64 = 0xc000;

/// SPI numbers of one client: towards the server, then towards the client; forged ones come last.
pub(super) fn spi_out(client: usize, generation: usize) -> usize {
    client * GENERATIONS + generation
}
pub(super) fn spi_in(client: usize, generation: usize) -> usize {
    (CLIENTS + client) * GENERATIONS + generation
}
pub(super) fn spi_forged(n: usize) -> usize {
    2 * CLIENTS * GENERATIONS + n
}
pub(super) const SPI_COUNT: usize = 2 * CLIENTS * GENERATIONS + FORGED;

/// Remaining lifetimes: seconds (or what the scale makes of them), and these.
pub(super) const TAIL: u8 = 200;
pub(super) const LONG: u8 = 250;
pub(super) const EVER: u8 = 255;

/// How a timeout in milliseconds becomes a number of ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scale {
    /// A tick is a second.
    Seconds,
    /// A tick is two seconds or so: the order of the timeouts is kept.
    Coarse,
}

impl Scale {
    pub(super) fn ticks(self, timeout: u64) -> u8 {
        match (self, timeout) {
            (_, 0) => EVER,
            (_, ..1000) => TAIL,
            (Self::Seconds, ..60_000) => u8::try_from(timeout / 1000).unwrap(),
            (Self::Coarse, ..=2000) => 1,
            (Self::Coarse, ..=4000) => 2,
            (Self::Coarse, ..=5000) => 3,
            (Self::Coarse, ..=9000) => 4,
            (Self::Coarse, ..60_000) => 5,
            (_, ..3_600_000) => LONG,
            _ => EVER,
        }
    }
}

/// What the values of a key or of a map are, numbered from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Domain {
    Server,
    Client,
    Host,
    Spi,
    Cookie,
}

impl Domain {
    pub(super) fn of(text: &str, data: bool) -> Self {
        match text {
            "ip saddr" if data => Self::Host,
            "ip saddr" | "ip daddr" | "@nh,128,32" | "@nh,96,32" => Self::Server,
            "ct zone" | "ether saddr" => Self::Client,
            "esp spi" | "@th,0,32" => Self::Spi,
            "@th,64,64" => Self::Cookie,
            _ => panic!("no such key in the model: {text}"),
        }
    }

    pub(super) fn size(self) -> usize {
        match self {
            Self::Server => 1,
            Self::Client | Self::Host | Self::Cookie => CLIENTS,
            Self::Spi => SPI_COUNT,
        }
    }

    pub(super) fn base(self) -> u64 {
        match self {
            Self::Server => SERVERS,
            Self::Client => LAN & 0xffff,
            Self::Host => LAN,
            Self::Spi => SPIS,
            Self::Cookie => COOKIES,
        }
    }

    pub(super) fn number(self, value: u64) -> usize {
        let number = usize::try_from(value.wrapping_sub(self.base())).unwrap_or(usize::MAX);
        assert!(number < self.size(), "{self:?} {value:#x} is not of the model");
        number
    }

    /// The number after the clients have been exchanged.
    pub(super) fn exchanged(self, number: usize, clients: &[usize; CLIENTS]) -> usize {
        match self {
            Self::Server => number,
            Self::Client | Self::Host | Self::Cookie => clients[number],
            Self::Spi if number >= 2 * CLIENTS * GENERATIONS => number,
            Self::Spi => {
                let (half, rest) = (number / (CLIENTS * GENERATIONS), number % (CLIENTS * GENERATIONS));
                half * CLIENTS * GENERATIONS + clients[rest / GENERATIONS] * GENERATIONS + rest % GENERATIONS
            }
        }
    }

    pub(super) fn name(self, number: usize) -> String {
        match self {
            Self::Server => format!("S{}", number + 1),
            Self::Client | Self::Host => client_name(number).to_string(),
            Self::Cookie => format!("cookie{}", client_name(number)),
            Self::Spi => spi_name(number),
        }
    }
}

pub(super) fn client_name(number: usize) -> char {
    ['A', 'B', 'C', 'D'][number]
}

pub(super) fn spi_name(number: usize) -> String {
    if number >= 2 * CLIENTS * GENERATIONS {
        return format!("forged{}", number - 2 * CLIENTS * GENERATIONS + 1);
    }
    let (half, rest) = (number / (CLIENTS * GENERATIONS), number % (CLIENTS * GENERATIONS));
    format!("{}{}{}", ["o", "i"][half], client_name(rest / GENERATIONS), rest % GENERATIONS + 1)
}
