//! Speakers that die and come back, under traffic.

fn main() {
    tests::main(Vec::new())
}
