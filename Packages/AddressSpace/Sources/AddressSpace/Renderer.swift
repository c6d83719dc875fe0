/// Turns a tree into sorted, disjoint ranges. Regions are visited from the highest priority down, and each leaf
/// takes what is still free, so nothing is ever cut afterwards.
struct Renderer {
    private var ranges: [FlatRange] = []
    private var visits = 0

    /// Shows bytes `low..<high` of `region` (inside it, not empty) from `base` on. `base + (high - low)` does
    /// not wrap: it is inside the root.
    mutating func render(
        _ region: Region, from low: UInt64, to high: UInt64, at base: UInt64, depth: Int
    ) throws(AddressSpaceError) {
        visits += 1
        guard visits <= AddressSpace.maxVisits else { throw .treeTooLarge(region.name) }
        guard depth <= AddressSpace.maxDepth else { throw .treeTooDeep(region.name) }
        switch region.kind {
        case .container:
            for child in region.children {
                // add() checked that offset + size does not wrap.
                let from = max(low, child.offset)
                let to = min(high, child.offset &+ child.region.size)
                guard from < to else { continue }
                try render(
                    child.region, from: from &- child.offset, to: to &- child.offset, at: base &+ (from &- low),
                    depth: depth + 1)
            }
        case .alias:
            guard let target = region.target else { return }
            // alias() checked that targetOffset + size does not wrap.
            let from = low &+ region.targetOffset
            let to = min(high &+ region.targetOffset, target.size)
            guard from < to else { return }
            try render(target, from: from, to: to, at: base, depth: depth + 1)
        case .ram: fill(region, .ram, low, base, base &+ (high &- low))
        case .ramDevice: fill(region, .ramDevice, low, base, base &+ (high &- low))
        case .io: fill(region, .io, low, base, base &+ (high &- low))
        case .romDevice: fill(region, region.romMode ? .romDevice : .io, low, base, base &+ (high &- low))
        }
    }

    /// Gives `region` the free parts of `start..<end`; `offset` is the byte of the region at `start`.
    private mutating func fill(
        _ region: Region, _ kind: FlatRange.Kind, _ offset: UInt64, _ start: UInt64, _ end: UInt64
    ) {
        var index = firstIndex(endingAfter: start)
        var cursor = start
        while cursor < end {
            if index < ranges.count, ranges[index].base <= cursor {
                cursor = ranges[index].end
                index += 1
                continue
            }
            let stop = index < ranges.count ? min(end, ranges[index].base) : end
            let piece = FlatRange(
                region: region, kind: kind, offset: offset &+ (cursor &- start), base: cursor, size: stop &- cursor)
            ranges.insert(piece, at: index)
            index += 1
            cursor = stop
        }
    }

    private func firstIndex(endingAfter address: UInt64) -> Int {
        var low = 0
        var high = ranges.count
        while low < high {
            let middle = (low + high) / 2
            if ranges[middle].end > address { high = middle } else { low = middle + 1 }
        }
        return low
    }

    /// Neighbours that show one region without a break become one range: fewer memory slots.
    func mergedRanges() -> [FlatRange] {
        var merged: [FlatRange] = []
        for range in ranges {
            if let last = merged.last, let joined = last.joined(with: range) {
                merged[merged.count - 1] = joined
            } else {
                merged.append(range)
            }
        }
        return merged
    }
}
