//! Tickets of live logins. In memory only: a restart of the daemon logs everybody out.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::{Live, Ticket, random_hex};

/// A login ends after this time, however busy.
const LONGEST: Duration = Duration::from_secs(12 * 3600);
/// So long the password need not be typed again before something is opened to the internet.
const FRESH: Duration = Duration::from_secs(300);
/// Live logins at once; the one that idled longest goes.
const AT_ONCE: usize = 64;

#[derive(Debug, Clone, Copy)]
struct Login {
    id: u64,
    source: IpAddr,
    since: Instant,
    last: Instant,
    /// When its password was typed last.
    proved: Instant,
}

impl Login {
    fn over(&self, idle: Duration, now: Instant) -> bool {
        now.saturating_duration_since(self.last) >= idle
            || now.saturating_duration_since(self.since) >= LONGEST
    }
}

#[derive(Debug, Default)]
pub(super) struct Tickets {
    logins: HashMap<String, Login>,
    last_id: u64,
    /// Counts up whenever the password changes.
    generation: u64,
}

impl Tickets {
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// None: the password has changed since `generation` was asked for.
    pub(super) fn mint_if(&mut self, generation: u64, source: IpAddr, now: Instant) -> Option<String> {
        (generation == self.generation).then(|| self.mint(source, now))
    }

    pub(super) fn mint(&mut self, source: IpAddr, now: Instant) -> String {
        if self.logins.len() >= AT_ONCE
            && let Some(oldest) = self.logins.iter().min_by_key(|(_, l)| l.last).map(|(t, _)| t.clone())
        {
            self.logins.remove(&oldest);
        }
        self.last_id += 1;
        let ticket = random_hex();
        self.logins
            .insert(ticket.clone(), Login { id: self.last_id, source, since: now, last: now, proved: now });
        ticket
    }

    pub(super) fn check(&mut self, ticket: &str, attended: bool, idle: Duration, now: Instant) -> Ticket {
        let Some(login) = self.logins.get_mut(ticket) else { return Ticket::Dead };
        if login.over(idle, now) {
            self.logins.remove(ticket);
            return Ticket::Dead;
        }
        if attended {
            login.last = now;
        }
        Ticket::Live
    }

    /// Where the login of this ticket came from.
    pub(super) fn source(&self, ticket: &str) -> Option<IpAddr> {
        self.logins.get(ticket).map(|login| login.source)
    }

    /// The password was typed again.
    pub(super) fn prove(&mut self, ticket: &str, now: Instant) {
        if let Some(login) = self.logins.get_mut(ticket) {
            login.proved = now;
        }
    }

    /// Whether the password was typed less than [`FRESH`] ago.
    pub(super) fn fresh(&self, ticket: &str, now: Instant) -> bool {
        let proved = self.logins.get(ticket).map(|login| now.saturating_duration_since(login.proved));
        proved.is_some_and(|ago| ago < FRESH)
    }

    /// Live logins, newest first.
    pub(super) fn live(&mut self, idle: Duration, now: Instant) -> Vec<Live> {
        self.logins.retain(|_, login| !login.over(idle, now));
        let live = |(ticket, login): (&String, &Login)| Live {
            id: login.id,
            ticket: ticket.clone(),
            source: login.source,
            age: now.saturating_duration_since(login.since),
            idle: now.saturating_duration_since(login.last),
        };
        let mut all: Vec<Live> = self.logins.iter().map(live).collect();
        all.sort_by_key(|login| std::cmp::Reverse(login.id));
        all
    }

    pub(super) fn end(&mut self, ticket: &str) {
        self.logins.remove(ticket);
    }

    /// False: there is none of this number.
    pub(super) fn end_id(&mut self, id: u64) -> bool {
        let before = self.logins.len();
        self.logins.retain(|_, login| login.id != id);
        self.logins.len() < before
    }

    /// The password has changed: ends all but the one of `ticket`; none: all.
    pub(super) fn end_others(&mut self, ticket: Option<&str>) {
        self.generation += 1;
        self.logins.retain(|theirs, _| Some(theirs.as_str()) == ticket);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Duration = Duration::from_secs(600);
    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 168, 1, 101));

    #[test]
    fn a_login_idles_out_and_polling_does_not_keep_it() {
        let (mut tickets, start) = (Tickets::default(), Instant::now());
        let ticket = tickets.mint(HERE, start);
        let minute = Duration::from_secs(60);
        for n in 1..10 {
            assert_eq!(tickets.check(&ticket, false, IDLE, start + minute * n), Ticket::Live);
        }
        assert_eq!(tickets.check(&ticket, false, IDLE, start + minute * 10), Ticket::Dead);
        assert_eq!(tickets.check(&ticket, true, IDLE, start), Ticket::Dead, "dead is dead");
    }

    #[test]
    fn a_busy_login_ends_after_twelve_hours() {
        let (mut tickets, start) = (Tickets::default(), Instant::now());
        let ticket = tickets.mint(HERE, start);
        let step = Duration::from_secs(300);
        let mut lived = 0;
        while tickets.check(&ticket, true, IDLE, start + step * lived) == Ticket::Live {
            lived += 1;
        }
        assert_eq!(step * lived, LONGEST);
    }

    #[test]
    fn a_password_is_fresh_for_five_minutes_however_busy_its_login_is() {
        let (mut tickets, start) = (Tickets::default(), Instant::now());
        let (ours, other) = (tickets.mint(HERE, start), tickets.mint(HERE, start));
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(tickets.fresh(&ours, start) && !tickets.fresh("no such ticket", start));
        assert_eq!(tickets.check(&ours, true, IDLE, at(299)), Ticket::Live);
        assert!(tickets.fresh(&ours, at(299)) && !tickets.fresh(&ours, at(300)));
        tickets.prove(&ours, at(310));
        assert!(tickets.fresh(&ours, at(609)) && !tickets.fresh(&ours, at(610)));
        assert!(!tickets.fresh(&other, at(310)), "one's own password proves nothing for another login");
    }

    #[test]
    fn a_hundred_thousand_tickets_are_256_random_bits_each_and_no_two_are_equal() {
        let mut tickets = Tickets::default();
        let now = Instant::now();
        let mut all = std::collections::HashSet::new();
        // How often each of the sixteen digits stands at each of the 64 places.
        let mut digits = [[0_u32; 16]; 64];
        for _ in 0..100_000 {
            let ticket = tickets.mint(HERE, now);
            assert_eq!(ticket.len(), 64);
            for (place, digit) in ticket.chars().enumerate() {
                digits[place][digit.to_digit(16).unwrap() as usize] += 1;
            }
            assert!(all.insert(ticket), "a ticket came twice");
        }
        // 6,250 are expected, with a standard deviation of 77: ten of them do not happen by chance.
        let odd = digits.as_flattened().iter().find(|n| n.abs_diff(6250) > 770);
        assert_eq!(odd, None, "a digit is not random");
    }

    #[test]
    fn the_number_of_logins_is_bounded_and_an_ended_one_is_dead() {
        let (mut tickets, start) = (Tickets::default(), Instant::now());
        let all: Vec<String> =
            (0..100).map(|n| tickets.mint(HERE, start + Duration::from_millis(n))).collect();
        assert_eq!(tickets.logins.len(), AT_ONCE);
        tickets.end(&all[99]);
        assert_eq!(tickets.check(&all[99], true, IDLE, start), Ticket::Dead);
    }

    #[test]
    fn logins_are_listed_newest_first_and_ended_one_by_one_or_all_others() {
        let (mut tickets, start) = (Tickets::default(), Instant::now());
        let all: Vec<String> = (0..4).map(|n| tickets.mint(HERE, start + Duration::from_secs(n))).collect();
        let live = tickets.live(IDLE, start + Duration::from_secs(10));
        let ages: Vec<u64> = live.iter().map(|l| l.age.as_secs()).collect();
        assert_eq!(ages, [7, 8, 9, 10]);
        assert!(tickets.end_id(live[0].id) && !tickets.end_id(live[0].id));
        let before = tickets.generation();
        tickets.end_others(Some(&all[1]));
        assert_eq!(
            tickets.mint_if(before, HERE, start),
            None,
            "its password was looked at before the change"
        );
        let left: Vec<String> = tickets.live(IDLE, start).into_iter().map(|l| l.ticket).collect();
        assert_eq!(left, [all[1].clone()]);
        assert_eq!(tickets.live(IDLE, start + IDLE * 2).len(), 0, "an idle one is not listed");
    }
}
