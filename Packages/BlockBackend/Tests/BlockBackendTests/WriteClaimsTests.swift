import Testing

@testable import BlockBackend

/// #expect cannot call mutating members.
private final class Claims {
    private var claims: WriteClaims
    init(capacity: Int) { claims = WriteClaims(capacity: capacity) }
    func claim(_ index: Int, from start: UInt64, to end: UInt64, exclusive: Bool) -> Bool { claims.claim(index, from: start, to: end, exclusive: exclusive) }
    func release(_ index: Int) { claims.release(index) }
    func nextStartable() -> Int? { claims.nextStartable() }
}

@Suite struct WriteClaimsTests {
    @Test func wholeWrites_overlapping_runTogether() {
        let claims = Claims(capacity: 4)
        #expect(claims.claim(0, from: 0, to: 4096, exclusive: false))
        #expect(claims.claim(1, from: 0, to: 8192, exclusive: false))
    }

    @Test func partialWrite_onBlockInUse_waitsForIt() {
        let claims = Claims(capacity: 4)
        #expect(claims.claim(0, from: 0, to: 4096, exclusive: false))
        #expect(!claims.claim(1, from: 0, to: 4096, exclusive: true))
        #expect(claims.claim(2, from: 4096, to: 8192, exclusive: true))
        #expect(claims.nextStartable() == nil)
        claims.release(0)
        #expect(claims.nextStartable() == 1)
        #expect(claims.nextStartable() == nil)
    }

    @Test func wholeWrite_behindWaitingPartialWrite_doesNotOvertakeIt() {
        let claims = Claims(capacity: 4)
        #expect(claims.claim(0, from: 0, to: 4096, exclusive: false))
        #expect(!claims.claim(1, from: 0, to: 4096, exclusive: true))
        #expect(!claims.claim(2, from: 0, to: 4096, exclusive: false))
        claims.release(0)
        #expect(claims.nextStartable() == 1)
        #expect(claims.nextStartable() == nil)
        claims.release(1)
        #expect(claims.nextStartable() == 2)
    }

    @Test func randomClaims_alwaysEnd_andNeverRunInConflict() {
        var random = SeededGenerator(state: 11)
        let claims = Claims(capacity: 16)
        var running: [Int: (UInt64, UInt64, Bool)] = [:]
        var waiting: [Int: (UInt64, UInt64, Bool)] = [:]
        for _ in 0..<20_000 {
            let free = (0..<16).filter { running[$0] == nil && waiting[$0] == nil }
            if let index = free.randomElement(using: &random), Bool.random(using: &random) {
                let start = UInt64.random(in: 0..<8, using: &random)
                let claim = (start, start + UInt64.random(in: 1..<4, using: &random), Bool.random(using: &random))
                if claims.claim(index, from: claim.0, to: claim.1, exclusive: claim.2) { running[index] = claim } else { waiting[index] = claim }
            } else if let index = running.keys.sorted().randomElement(using: &random) {
                running[index] = nil
                claims.release(index)
            }
            while let index = claims.nextStartable() { running[index] = waiting.removeValue(forKey: index) }
            for (a, first) in running {
                for (b, second) in running where a < b && (first.2 || second.2) {
                    #expect(first.1 <= second.0 || second.1 <= first.0)
                }
            }
            #expect(!running.isEmpty || waiting.isEmpty)
        }
    }
}
