/// Page numbers as sorted runs, so that neighbours become one call to the host in whatever order the guest names them. Takes memory once.
struct PageRuns {
    struct Run: Equatable {
        var first: UInt64
        /// The page after the last.
        var end: UInt64
    }

    /// At most as many as were asked for.
    private(set) var runs: [Run] = []
    private let capacity: Int

    init(capacity: Int) {
        self.capacity = capacity
        runs.reserveCapacity(capacity)
    }

    /// The next page may be one run too many.
    var isFull: Bool { runs.count >= capacity }

    /// Adds a page, below 2^63; one that is there already changes nothing.
    mutating func insert(_ page: UInt64) {
        // The first run behind the page.
        var low = 0
        var high = runs.count
        while low < high {
            let middle = (low &+ high) >> 1
            if runs[middle].first > page { high = middle } else { low = middle &+ 1 }
        }
        let touchesNext = low < runs.count && runs[low].first == page &+ 1
        guard low > 0, runs[low &- 1].end >= page else {
            if touchesNext { runs[low].first = page } else { runs.insert(Run(first: page, end: page &+ 1), at: low) }
            return
        }
        guard runs[low &- 1].end == page else { return }
        runs[low &- 1].end = touchesNext ? runs[low].end : page &+ 1
        if touchesNext { runs.remove(at: low) }
    }

    mutating func removeAll() { runs.removeAll(keepingCapacity: true) }
}
