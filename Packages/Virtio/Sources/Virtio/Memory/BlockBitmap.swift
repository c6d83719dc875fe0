/// Which blocks of a memory device are plugged: a bit each, set for those that are. Ranges lie inside `0..<count`; what does not is cut off.
struct BlockBitmap: Equatable {
    let count: Int
    /// How many bits are set.
    private(set) var setCount = 0
    private var words: [UInt64]

    /// All clear.
    init(count: Int) {
        self.count = max(0, count)
        words = [UInt64](repeating: 0, count: (self.count + 63) / 64)
    }

    func isAllSet(_ range: Range<Int>) -> Bool { firstClear(in: range) == nil }
    func isAllClear(_ range: Range<Int>) -> Bool { firstSet(in: range) == nil }

    mutating func set(_ range: Range<Int>) { change(range) { word, mask in word | mask } }
    mutating func clear(_ range: Range<Int>) { change(range) { word, mask in word & ~mask } }

    func firstSet(in range: Range<Int>) -> Int? { first(in: range) { $0 } }
    func firstClear(in range: Range<Int>) -> Int? { first(in: range) { ~$0 } }

    /// The first run of set bits in a range.
    func firstRun(in range: Range<Int>) -> Range<Int>? {
        let range = range.clamped(to: 0..<count)
        guard let start = firstSet(in: range) else { return nil }
        return start..<(firstClear(in: start..<range.upperBound) ?? range.upperBound)
    }

    private func first(in range: Range<Int>, _ view: (UInt64) -> UInt64) -> Int? {
        let range = range.clamped(to: 0..<count)
        var bit = range.lowerBound
        while bit < range.upperBound {
            let found = view(words[bit >> 6]) & Self.mask(bit, range.upperBound)
            if found != 0 { return bit & ~63 | found.trailingZeroBitCount }
            bit = (bit | 63) + 1
        }
        return nil
    }

    private mutating func change(_ range: Range<Int>, _ body: (_ word: UInt64, _ mask: UInt64) -> UInt64) {
        let range = range.clamped(to: 0..<count)
        var bit = range.lowerBound
        while bit < range.upperBound {
            let old = words[bit >> 6]
            let new = body(old, Self.mask(bit, range.upperBound))
            words[bit >> 6] = new
            setCount += new.nonzeroBitCount - old.nonzeroBitCount
            bit = (bit | 63) + 1
        }
    }

    /// Those bits of the word of `bit` that lie in `bit..<end`.
    private static func mask(_ bit: Int, _ end: Int) -> UInt64 {
        let low = UInt64.max << UInt64(bit & 63)
        let inWord = end - (bit & ~63)
        return inWord >= 64 ? low : low & ((1 << UInt64(inWord)) - 1)
    }
}
