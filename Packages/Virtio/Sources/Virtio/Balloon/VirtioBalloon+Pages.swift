internal import AddressSpace
internal import LinuxSys

extension VirtioBalloon {
    /// Bytes of a page number (section 5.5.6).
    static let pageNumberSize = 4
    /// Bytes of page numbers that are looked at together: what Linux sends at once, 1 MiB of memory.
    static let pieceSize = 256 * pageNumberSize
    /// What one turn may cost, in pages of the balloon, before the others on the event loop have theirs. A page that lies by itself is a call to the host,
    /// of some microseconds.
    static let turn: UInt64 = 1024
    /// Bytes of reported pages that count as one page: they come in large pieces.
    static let reportedPage: UInt64 = 16 << 10
    /// What every chain costs at least.
    static let chainCost: UInt64 = 16

    /// Takes chains until there are none, or the turn is over; a chain that is too long for one turn goes on in the next.
    func serve(_ queue: SplitQueue, _ index: Int, _ role: Role, _ session: Session) -> ServiceResult {
        defer { if queue.publish() { session.interrupt.raise(VirtioInterrupt.usedBuffer) } }
        queue.disableNotifications()
        var left = Self.turn
        do {
            while left > 0 {
                guard try queue.pop(into: chain) else {
                    if try queue.enableNotifications() { continue }
                    return .idle
                }
                left = left > Self.chainCost ? left &- Self.chainCost : 0
                guard see(to: role, index, &left, session) else {
                    queue.undoPop()
                    return .again
                }
                progress[index] = 0
                queue.push(head: chain.head, written: 0)
            }
        } catch {
            return .fault(.needsReset(error))
        }
        return .again
    }

    /// True when nothing of the chain is left.
    private func see(to role: Role, _ index: Int, _ left: inout UInt64, _ session: Session) -> Bool {
        switch role {
        case .inflate: return inflate(index, &left, session.memory)
        case .reporting: return report(index, &left, session.memory)
        case .deflate, .statistics:
            // Nothing to do: a page comes back when it is touched.
            if chain.readableBytes < UInt64(Self.pageNumberSize) { droppedRequests &+= 1 }
            return true
        }
    }

    /// The readable part is a list of page numbers; a rest that is no whole number is left out.
    private func inflate(_ index: Int, _ left: inout UInt64, _ memory: GuestMemory) -> Bool {
        let total = chain.readableBytes & ~UInt64(Self.pageNumberSize - 1)
        if total == 0 { droppedRequests &+= 1 }
        while progress[index] < total {
            guard left > 0 else { return false }
            let wanted = Int(min(total &- progress[index], UInt64(Self.pieceSize)))
            let count = chain.copyOut(from: progress[index], into: &piece, limit: wanted) / Self.pageNumberSize
            guard count > 0 else { return true }
            for entry in 0..<count { add(pageNumber(entry), memory) }
            releaseRuns(memory)
            progress[index] &+= UInt64(count &* Self.pageNumberSize)
            left = left > UInt64(count) ? left &- UInt64(count) : 0
        }
        return true
    }

    private func pageNumber(_ entry: Int) -> UInt64 {
        let place = entry &* Self.pageNumberSize
        return UInt64(piece[place]) | UInt64(piece[place &+ 1]) << 8 | UInt64(piece[place &+ 2]) << 16 | UInt64(piece[place &+ 3]) << 24
    }

    /// Pages that are no RAM are counted and left out, also those in ROM and device memory.
    private func add(_ page: UInt64, _ memory: GuestMemory) {
        guard memory.isRAM(at: page &* BalloonHost.pageSize, count: BalloonHost.pageSize) else {
            droppedRequests &+= 1
            return
        }
        if runs.isFull { releaseRuns(memory) }
        runs.insert(page)
    }

    /// Runs may be parts of larger pages of the host, which stay: see `GuestMemory.release`.
    private func releaseRuns(_ memory: GuestMemory) {
        for run in runs.runs {
            do throws(GuestMemoryError) {
                inflatedBytes &+= try memory.release(at: run.first &* BalloonHost.pageSize, count: (run.end &- run.first) &* BalloonHost.pageSize)
            } catch { complain(error) }
        }
        runs.removeAll()
    }

    /// The writable part is the free pages themselves (section 5.5.6.6).
    private func report(_ index: Int, _ left: inout UInt64, _ memory: GuestMemory) -> Bool {
        let total = chain.writableBytes
        if total == 0 { droppedRequests &+= 1 }
        guard !keepsReportedPages else { return true }
        while progress[index] < total {
            guard left > 0 else { return false }
            let length = min(total &- progress[index], left &* Self.reportedPage)
            chain.forEach(.writable, skip: progress[index], length: length) { address, count in
                do throws(GuestMemoryError) { reportedBytes &+= try memory.release(hostAddress: address, count: count) } catch { complain(error) }
            }
            progress[index] &+= length
            left = left &- min(left, length / Self.reportedPage &+ 1)
        }
        return true
    }

    /// Only the first: it is the same for every page.
    private func complain(_ error: GuestMemoryError) {
        droppedRequests &+= 1
        guard !hasComplained else { return }
        hasComplained = true
        Log.warn("virtio-balloon: \(error); the guest's pages stay where they are")
    }
}
