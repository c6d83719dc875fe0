/// Keeps writes apart that touch the same block of a direct image, when one of them changes only a part of the block.
///
/// Such a write reads the block, changes its part and writes the block back. A neighbour's sector that is written in between would be
/// lost, though the guest did nothing wrong: its two requests do not overlap. So an exclusive claim (read, modify, write) runs only while no
/// other write overlaps its blocks, and others wait their turn behind it. Belongs to the image's owner thread.
struct WriteClaims {
    private enum State: UInt8 { case unused, waiting, running }
    private struct Claim {
        var start: UInt64 = 0
        var end: UInt64 = 0
        /// Order of arrival: who came first goes first, or a stream of whole writes could starve a partial one.
        var sequence: UInt64 = 0
        var state = State.unused
        var isExclusive = false
    }

    private var claims: [Claim]
    private var exclusive = 0
    private var waiting = 0
    private var sequence: UInt64 = 0

    init(capacity: Int) { claims = Array(repeating: Claim(), count: capacity) }

    /// Claims blocks [start, end) for the transfer `index`; false when it must wait until `nextStartable` names it.
    mutating func claim(_ index: Int, from start: UInt64, to end: UInt64, exclusive isExclusive: Bool) -> Bool {
        sequence &+= 1
        claims[index] = Claim(start: start, end: end, sequence: sequence, state: .running, isExclusive: isExclusive)
        let mustWait = (isExclusive || exclusive > 0) && hasConflict(index)
        if isExclusive { exclusive &+= 1 }
        if mustWait {
            claims[index].state = .waiting
            waiting &+= 1
        }
        return !mustWait
    }

    /// Gives up what the transfer has claimed, if anything.
    mutating func release(_ index: Int) {
        guard claims[index].state != .unused else { return }
        if claims[index].isExclusive { exclusive &-= 1 }
        claims[index].state = .unused
    }

    /// The oldest transfer that waited and need not wait any longer; it now has its claim.
    mutating func nextStartable() -> Int? {
        guard waiting > 0 else { return nil }
        var best: Int?
        for index in claims.indices where claims[index].state == .waiting {
            if let best, claims[best].sequence < claims[index].sequence { continue }
            if !hasConflict(index) { best = index }
        }
        guard let best else { return nil }
        claims[best].state = .running
        waiting &-= 1
        return best
    }

    private func hasConflict(_ index: Int) -> Bool {
        let mine = claims[index]
        for other in claims where other.state != .unused && other.sequence != mine.sequence {
            guard mine.isExclusive || other.isExclusive, mine.start < other.end, other.start < mine.end else { continue }
            if other.state == .running || other.sequence < mine.sequence { return true }
        }
        return false
    }
}
