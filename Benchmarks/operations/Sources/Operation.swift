import COperations
import LinuxSys

/// Something that a machine does again and again, and that is measured here.
struct Operation {
    let group: String
    let name: String
    /// Once it has what it needs, nothing may be allocated, by any thread.
    let isFree: Bool
    /// How often a round does it.
    let perRound: Int
    /// Plays so many rounds. What belongs to the operation is done inside `Measurement.take`.
    let play: (_ rounds: Int, inout Measurement) throws -> Void

    init(_ group: String, _ name: String, isFree: Bool = true, perRound: Int = 1, _ play: @escaping (Int, inout Measurement) throws -> Void) {
        (self.group, self.name, self.isFree, self.perRound, self.play) = (group, name, isFree, perRound, play)
    }

    /// For those that have nothing to prepare.
    static func simple(_ group: String, _ name: String, isFree: Bool = true, perRound: Int = 1, _ round: @escaping () throws -> Void) -> Operation {
        Operation(group, name, isFree: isFree, perRound: perRound) { rounds, measurement in
            try measurement.take { for _ in 0..<rounds { try round() } }
        }
    }
}

/// What some rounds took.
struct Measurement {
    var nanoseconds: UInt64 = 0
    var allocations = 0
    /// It is noted from where the first allocation comes.
    var isWatched = false

    mutating func take(_ body: () throws -> Void) rethrows {
        allocations_watch(isWatched)
        defer { allocations_watch(false) }
        let before = (allocations_count(), Clock.monotonicNanoseconds())
        try body()
        nanoseconds &+= Clock.monotonicNanoseconds() &- before.1
        allocations &+= allocations_count() &- before.0
    }
}

/// How long to look.
struct Effort {
    var samples: Int
    /// Of each sample, at least.
    var nanoseconds: UInt64
}

/// What was seen of an operation.
struct Observation {
    /// Nanoseconds for each time, sample by sample.
    var samples: [Double] = []
    /// Of all samples together.
    var count = 0
    var allocations = 0
    /// From where the first allocation came: addresses of the executable's file, innermost first.
    var stack: [UInt64] = []

    /// Rounds, and nanoseconds, after which slots, threads and buffers are there, whatever they take.
    private static let warmUp = (rounds: 300, nanoseconds: 300_000_000 as UInt64)
    /// Looks, as long as something is allocated: what a timer takes once a second, whatever is done meanwhile, is not the operation's.
    private static let attempts = 5

    init(of operation: Operation, _ effort: Effort) throws {
        var (rounds, nanoseconds) = (0, 0 as UInt64)
        while rounds < Self.warmUp.rounds, nanoseconds < Self.warmUp.nanoseconds {
            var trial = Measurement()
            try operation.play(10, &trial)
            rounds += 10
            nanoseconds += trial.nanoseconds
        }
        rounds = max(1, Int(effort.nanoseconds * UInt64(rounds) / max(nanoseconds, 1)))
        for _ in 0..<Self.attempts {
            try look(at: operation, rounds, effort.samples)
            if !operation.isFree || allocations == 0 { return }
        }
        stack = (0..<Int32.max).lazy.map { allocations_frame($0) }.prefix { $0 != 0 }.map { $0 }
    }

    private mutating func look(at operation: Operation, _ rounds: Int, _ wanted: Int) throws {
        (samples, count, allocations) = ([], 0, 0)
        allocations_forget()
        for _ in 0..<wanted {
            var sample = Measurement(isWatched: operation.isFree)
            try operation.play(rounds, &sample)
            samples.append(Double(sample.nanoseconds) / Double(rounds * operation.perRound))
            count += rounds * operation.perRound
            allocations += sample.allocations
        }
    }
}
