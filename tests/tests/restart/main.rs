//! Speakers that die and come back, under traffic.

mod absent;
mod lab;
mod ours;
mod peers;

fn main() {
    tests::main([peers::labs(), ours::labs(), absent::labs()].into_iter().flatten().collect())
}
