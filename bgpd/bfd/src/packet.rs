//! The BFD Control packet (RFC 5880 §4.1), and which are to be discarded whatever the session (§6.8.6).

use std::fmt;
use std::time::Duration;

/// Octets of a Control packet without authentication.
pub const LENGTH: usize = 24;
const VERSION: u8 = 1;
/// Octets of a Control packet with the shortest authentication section.
const LENGTH_WITH_AUTHENTICATION: u8 = 26;

const POLL: u8 = 0x20;
const FINAL: u8 = 0x10;
const CONTROL_PLANE_INDEPENDENT: u8 = 0x08;
const AUTHENTICATION: u8 = 0x04;
const DEMAND: u8 = 0x02;
const MULTIPOINT: u8 = 0x01;

/// State of a session (RFC 5880 §4.1, Sta).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum State {
    /// Held down by command.
    AdminDown,
    /// Nothing is known of the peer, or it was lost.
    #[default]
    Down,
    /// The peer is heard; it has not said yet that it hears us.
    Init,
    /// Both hear each other.
    Up,
}

impl State {
    /// The RFC's name of it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::AdminDown => "AdminDown",
            Self::Down => "Down",
            Self::Init => "Init",
            Self::Up => "Up",
        }
    }
}

/// Why the session last changed its state (RFC 5880 §4.1, Diag).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Diagnostic(u8);

impl Diagnostic {
    /// 0.
    pub const NONE: Self = Self(0);
    /// 1: nothing was received for the detection time.
    pub const CONTROL_DETECTION_TIME_EXPIRED: Self = Self(1);
    /// 3: the peer said that its session is down.
    pub const NEIGHBOR_SIGNALED_SESSION_DOWN: Self = Self(3);
    /// 7: by command.
    pub const ADMINISTRATIVELY_DOWN: Self = Self(7);

    /// The code, 0 to 31; higher bits are dropped.
    #[must_use]
    pub const fn new(code: u8) -> Self {
        Self(code & 0x1f)
    }

    /// The code.
    #[must_use]
    pub const fn code(self) -> u8 {
        self.0
    }

    /// The RFC's name of it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self.0 {
            0 => "No Diagnostic",
            1 => "Control Detection Time Expired",
            2 => "Echo Function Failed",
            3 => "Neighbor Signaled Session Down",
            4 => "Forwarding Plane Reset",
            5 => "Path Down",
            6 => "Concatenated Path Down",
            7 => "Administratively Down",
            8 => "Reverse Concatenated Path Down",
            _ => "Reserved",
        }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A Control packet that passed the checks which need no session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet {
    /// Diag.
    pub diagnostic: Diagnostic,
    /// Sta.
    pub state: State,
    /// P: an answer with the F bit is asked for.
    pub poll: bool,
    /// F: the answer.
    pub r#final: bool,
    /// C: the sender's BFD does not share the fate of its control plane.
    pub control_plane_independent: bool,
    /// D: the sender wants no periodic packets.
    pub demand: bool,
    /// Detect Mult. Not zero.
    pub multiplier: u8,
    /// The sender's discriminator. Not zero.
    pub my_discriminator: u32,
    /// Ours as the sender knows it; 0 if it does not.
    pub your_discriminator: u32,
    /// Desired Min TX Interval.
    pub desired_min_tx: Duration,
    /// Required Min RX Interval; zero asks for no periodic packets.
    pub required_min_rx: Duration,
    /// Required Min Echo RX Interval; zero refuses Echo packets.
    pub required_min_echo_rx: Duration,
}

/// Why octets are no packet for any session, in the order of RFC 5880 §6.8.6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum Invalid {
    /// Fewer octets than a packet has.
    #[error("cut short")]
    Short,
    /// Another version than 1.
    #[error("version {0}, not 1")]
    Version(u8),
    /// A Length field below the least, or beyond the datagram.
    #[error("length {0} does not fit")]
    Length(u8),
    /// Detect Mult is zero.
    #[error("multiplier 0")]
    Multiplier,
    /// The M bit is set.
    #[error("multipoint")]
    Multipoint,
    /// My Discriminator is zero.
    #[error("My Discriminator 0")]
    MyDiscriminator,
    /// Your Discriminator is zero in a state that has one.
    #[error("Your Discriminator 0 in state {}", .0.word())]
    YourDiscriminator(State),
    /// It is authenticated, which no session here is.
    #[error("authenticated")]
    Authenticated,
}

/// Reads the payload of a UDP datagram.
///
/// # Errors
/// The first rule of RFC 5880 §6.8.6 that is broken, among those that need no session.
pub fn decode(payload: &[u8]) -> Result<Packet, Invalid> {
    let Some((head, _)) = payload.split_first_chunk::<LENGTH>() else { return Err(Invalid::Short) };
    let [first, flags, multiplier, length, ..] = *head;
    if first >> 5 != VERSION {
        return Err(Invalid::Version(first >> 5));
    }
    let authenticated = flags & AUTHENTICATION != 0;
    let least = if authenticated { LENGTH_WITH_AUTHENTICATION } else { LENGTH as u8 };
    if length < least || usize::from(length) > payload.len() {
        return Err(Invalid::Length(length));
    }
    if multiplier == 0 {
        return Err(Invalid::Multiplier);
    }
    if flags & MULTIPOINT != 0 {
        return Err(Invalid::Multipoint);
    }
    let [my_discriminator, your_discriminator, desired_min_tx, required_min_rx, required_min_echo_rx] = words(head);
    if my_discriminator == 0 {
        return Err(Invalid::MyDiscriminator);
    }
    let state = match flags >> 6 {
        0 => State::AdminDown,
        1 => State::Down,
        2 => State::Init,
        _ => State::Up,
    };
    if your_discriminator == 0 && !matches!(state, State::Down | State::AdminDown) {
        return Err(Invalid::YourDiscriminator(state));
    }
    if authenticated {
        return Err(Invalid::Authenticated);
    }
    let interval = |microseconds: u32| Duration::from_micros(microseconds.into());
    Ok(Packet {
        diagnostic: Diagnostic::new(first),
        state,
        poll: flags & POLL != 0,
        r#final: flags & FINAL != 0,
        control_plane_independent: flags & CONTROL_PLANE_INDEPENDENT != 0,
        demand: flags & DEMAND != 0,
        multiplier,
        my_discriminator,
        your_discriminator,
        desired_min_tx: interval(desired_min_tx),
        required_min_rx: interval(required_min_rx),
        required_min_echo_rx: interval(required_min_echo_rx),
    })
}

/// The five words behind the first.
fn words(head: &[u8; LENGTH]) -> [u32; 5] {
    let mut words = [0; 5];
    let (quads, _) = head.as_chunks::<4>();
    for (word, quad) in words.iter_mut().zip(quads.iter().skip(1)) {
        *word = u32::from_be_bytes(*quad);
    }
    words
}

/// Writes a packet without authentication.
#[must_use]
pub fn encode(packet: &Packet) -> [u8; LENGTH] {
    let state: u8 = match packet.state {
        State::AdminDown => 0,
        State::Down => 1,
        State::Init => 2,
        State::Up => 3,
    };
    let flags = [
        (packet.poll, POLL),
        (packet.r#final, FINAL),
        (packet.control_plane_independent, CONTROL_PLANE_INDEPENDENT),
        (packet.demand, DEMAND),
    ];
    let flags = flags.into_iter().filter(|it| it.0).fold(state << 6, |octet, it| octet | it.1);
    let first = [VERSION << 5 | packet.diagnostic.code(), flags, packet.multiplier, LENGTH as u8];
    let words = [
        packet.my_discriminator,
        packet.your_discriminator,
        microseconds(packet.desired_min_tx),
        microseconds(packet.required_min_rx),
        microseconds(packet.required_min_echo_rx),
    ];
    let mut octets = [0; LENGTH];
    let source = first.into_iter().chain(words.into_iter().flat_map(u32::to_be_bytes));
    octets.iter_mut().zip(source).for_each(|(octet, value)| *octet = value);
    octets
}

fn microseconds(interval: Duration) -> u32 {
    u32::try_from(interval.as_micros()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKET: Packet = Packet {
        diagnostic: Diagnostic::NEIGHBOR_SIGNALED_SESSION_DOWN,
        state: State::Up,
        poll: true,
        r#final: false,
        control_plane_independent: false,
        demand: false,
        multiplier: 3,
        my_discriminator: 0x0102_0304,
        your_discriminator: 0x0506_0708,
        desired_min_tx: Duration::from_millis(100),
        required_min_rx: Duration::from_millis(300),
        required_min_echo_rx: Duration::ZERO,
    };

    fn changed(change: impl FnOnce(&mut Vec<u8>)) -> Result<Packet, Invalid> {
        let mut octets = encode(&PACKET).to_vec();
        change(&mut octets);
        decode(&octets)
    }

    #[test]
    fn a_packet_is_written_as_the_figure_of_section_4_1_has_it() {
        let expected = "23e003180102030405060708000186a0000493e000000000";
        let written: String = encode(&PACKET).iter().map(|octet| format!("{octet:02x}")).collect();
        assert_eq!(written, expected);
        assert_eq!(decode(&encode(&PACKET)), Ok(PACKET));
    }

    #[test]
    fn every_rule_of_reception_that_needs_no_session_discards_by_its_name() {
        assert_eq!(changed(|it| it.truncate(23)), Err(Invalid::Short));
        assert_eq!(changed(|it| it[0] = 0x43), Err(Invalid::Version(2)));
        assert_eq!(changed(|it| it[0] = 0x03), Err(Invalid::Version(0)));
        assert_eq!(changed(|it| it[3] = 23), Err(Invalid::Length(23)));
        assert_eq!(changed(|it| it[3] = 25), Err(Invalid::Length(25)));
        assert_eq!(changed(|it| it[1] |= AUTHENTICATION), Err(Invalid::Length(24)));
        assert_eq!(changed(|it| it[2] = 0), Err(Invalid::Multiplier));
        assert_eq!(changed(|it| it[1] |= MULTIPOINT), Err(Invalid::Multipoint));
        assert_eq!(changed(|it| it[4..8].fill(0)), Err(Invalid::MyDiscriminator));
        assert_eq!(changed(|it| it[8..12].fill(0)), Err(Invalid::YourDiscriminator(State::Up)));
        let authenticated = changed(|it| {
            it[1] |= AUTHENTICATION;
            it[3] = 28;
            it.extend([1, 4, 0, b'x']);
        });
        assert_eq!(authenticated, Err(Invalid::Authenticated));
    }

    #[test]
    fn no_discriminator_of_ours_is_fine_while_the_sender_is_down() {
        for (state, bits) in [(State::AdminDown, 0x00), (State::Down, 0x40)] {
            let read = changed(|it| {
                it[8..12].fill(0);
                it[1] = bits;
            });
            assert_eq!(read.map(|it| it.state), Ok(state));
        }
    }

    #[test]
    fn octets_behind_the_packet_do_not_matter() {
        assert_eq!(changed(|it| it.extend([9; 40])), Ok(PACKET));
    }
}
