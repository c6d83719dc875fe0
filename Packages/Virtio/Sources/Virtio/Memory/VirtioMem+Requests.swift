internal import LinuxSys

extension VirtioMem {
    /// Pages to be taken or given back for a request that has been checked. A request for many gigabytes takes the host seconds, which the event loop does not
    /// wait for: a slice a turn.
    struct Work {
        enum Kind { case plug, unplug, unplugAll, undoPlug }

        var kind: Kind
        let blocks: Range<Int>
        /// Bytes of the region that are still to be gone over.
        var rest: Range<UInt64>
        /// The request to be answered; nil once the driver has reset the device or taken the queue back.
        var head: UInt16?
    }

    func serve() -> ServiceResult {
        guard let session else { return proceed() ? .idle : .again }
        let queue = session.queue
        defer { publish(session) }
        queue.disableNotifications()
        do {
            for _ in 0..<Self.budget {
                guard proceed() else { return .again }
                guard try queue.pop(into: chain) else {
                    if try queue.enableNotifications() { continue }
                    return .idle
                }
                start(session)
            }
        } catch {
            return .fault(.needsReset(error))
        }
        return .again
    }

    func publish(_ session: Session) {
        if session.queue.publish() { session.interrupt.raise(VirtioInterrupt.usedBuffer) }
    }

    /// Answers the request in `chain`, or makes it `work`.
    private func start(_ session: Session) {
        // Not carried out when there is no room for the answer: the driver would not know. It has its buffers back (the class of Cloud Hypervisor PR 8401).
        guard let request = MemoryRequest(chain), chain.writableBytes >= MemoryResponse.size else {
            droppedRequests &+= 1
            return session.queue.push(head: chain.head, written: 0)
        }
        if let response = answer(request, session) { respond(response, to: chain.head) }
    }

    /// Nil when the answer comes later.
    private func answer(_ request: MemoryRequest, _ session: Session) -> MemoryResponse? {
        guard let kind = request.kind, !isForbidden(session) else { return .error }
        if kind == .unplugAll { return unplugAll() }
        guard let blocks = grid.blocks(at: request.address, count: request.count, usable: usableSize) else { return .error }
        switch kind {
        case .plug: return plug(blocks)
        case .unplug: return unplug(blocks)
        case .state: return .state(plugged.isAllSet(blocks) ? .plugged : plugged.isAllClear(blocks) ? .unplugged : .mixed)
        case .unplugAll: return .error
        }
    }

    private func plug(_ blocks: Range<Int>) -> MemoryResponse? {
        guard plugged.isAllClear(blocks) else { return .error }
        let bytes = grid.bytes(of: blocks)
        guard pluggedSize <= requestedSize, bytes.upperBound - bytes.lowerBound <= requestedSize - pluggedSize else { return .refused }
        // Chunks in which something is plugged are there already.
        let new = grid.chunks(of: blocks).filter { plugged.isAllClear(grid.blocks(ofChunk: $0)) }
        guard memory.show(new.map(chunkBytes)) else { return .busy }
        work = Work(kind: .plug, blocks: blocks, rest: memory.isPreallocated ? bytes : bytes.upperBound..<bytes.upperBound, head: chain.head)
        return nil
    }

    private func unplug(_ blocks: Range<Int>) -> MemoryResponse? {
        guard plugged.isAllSet(blocks) else { return .error }
        // First, so that the guest cannot bring pages back that are given away.
        guard memory.hide(grid.chunks(of: blocks).filter { isAlone(blocks, inChunk: $0) }.map(chunkBytes)) else { return .busy }
        work = Work(kind: .unplug, blocks: blocks, rest: reach(of: blocks), head: chain.head)
        return nil
    }

    private func unplugAll() -> MemoryResponse? {
        let all = 0..<grid.blockCount
        let shown = grid.chunks(of: all).filter { !plugged.isAllClear(grid.blocks(ofChunk: $0)) }
        guard memory.hide(shown.map(chunkBytes)) else { return .busy }
        work = Work(kind: .unplugAll, blocks: all, rest: grid.bytes(of: all), head: chain.head)
        return nil
    }

    private func chunkBytes(_ chunk: Int) -> Range<UInt64> { grid.bytes(of: grid.blocks(ofChunk: chunk)) }

    /// Nothing but (some of) `blocks` is plugged in a chunk that they touch.
    private func isAlone(_ blocks: Range<Int>, inChunk chunk: Int) -> Bool {
        let all = grid.blocks(ofChunk: chunk)
        return plugged.isAllClear(all.lowerBound..<max(all.lowerBound, blocks.lowerBound))
            && plugged.isAllClear(min(all.upperBound, blocks.upperBound)..<all.upperBound)
    }

    /// Bytes that the guest loses with `blocks`: where they are alone in a chunk, all of it. It may have touched more of the chunk than it had plugged.
    private func reach(of blocks: Range<Int>) -> Range<UInt64> {
        let chunks = grid.chunks(of: blocks)
        let (first, last) = (chunks.lowerBound, chunks.upperBound - 1)
        let start = isAlone(blocks, inChunk: first) ? grid.blocks(ofChunk: first).lowerBound : blocks.lowerBound
        let end = isAlone(blocks, inChunk: last) ? grid.blocks(ofChunk: last).upperBound : blocks.upperBound
        return grid.bytes(of: start..<end)
    }

    // MARK: Work

    /// Does a slice of the work that there is; true when none is left.
    func proceed() -> Bool {
        guard var work else { return true }
        var left = Self.slice
        while left > 0, let piece = nextPiece(work, limit: left) {
            left -= piece.upperBound - piece.lowerBound
            work.rest = piece.upperBound..<work.rest.upperBound
            if work.kind == .plug, !memory.populate(piece) {
                undo(&work)
                break
            }
            if work.kind != .plug, !memory.discard(piece), !hasComplained {
                hasComplained = true
                Log.warn("virtio-mem: the host does not take unplugged memory back")
            }
        }
        if nextPiece(work, limit: 1) != nil {
            self.work = work
            return false
        }
        self.work = nil
        finish(work)
        return true
    }

    /// Bytes that come next, at most `limit`; nil when the work is done. Where only some blocks are plugged, the others are left out.
    private func nextPiece(_ work: Work, limit: UInt64) -> Range<UInt64>? {
        var piece = work.rest
        if work.kind == .unplugAll {
            let first = Int(clamping: work.rest.lowerBound / grid.blockSize)
            let chunk = grid.blocks(ofChunk: first / grid.chunkBlocks).lowerBound
            guard let run = plugged.firstRun(in: chunk..<work.blocks.upperBound) else { return nil }
            let chunks = grid.chunks(of: run)
            piece = piece.clamped(to: chunkBytes(chunks.lowerBound).lowerBound..<chunkBytes(chunks.upperBound - 1).upperBound)
        }
        guard !piece.isEmpty else { return nil }
        return piece.lowerBound..<piece.lowerBound + min(piece.upperBound - piece.lowerBound, limit)
    }

    /// Takes back what a plug request has got so far.
    private func undo(_ work: inout Work) {
        let shown = grid.chunks(of: work.blocks).filter { plugged.isAllClear(grid.blocks(ofChunk: $0)) }
        _ = memory.hide(shown.map(chunkBytes))
        work.kind = .undoPlug
        work.rest = reach(of: work.blocks)
    }

    private func finish(_ work: Work) {
        switch work.kind {
        case .plug: plugged.set(work.blocks)
        case .unplug: plugged.clear(work.blocks)
        case .unplugAll:
            plugged.clear(work.blocks)
            shrinkUsable()
        // Out of memory is no fault of the driver: it tries again later (Linux, virtio_mem_send_plug_request).
        case .undoPlug: break
        }
        if work.kind != .undoPlug { publishSize() }
        if let head = work.head { respond(work.kind == .undoPlug ? .busy : .acknowledged, to: head) }
    }

    /// The answer goes into `chain`, which no other request has been copied to meanwhile.
    private func respond(_ response: MemoryResponse, to head: UInt16) {
        if response == .busy { busyResponses &+= 1 }
        guard let session, chain.writePrefix(response.bytes) else { return }
        session.queue.push(head: head, written: UInt32(MemoryResponse.size))
    }

    /// The driver does not wait for an answer any more. What it has asked for is done to the end, except that nothing new is plugged.
    func abandon() {
        session = nil
        guard var work else { return }
        work.head = nil
        if work.kind == .plug { undo(&work) }
        self.work = work
    }
}
