internal import LinuxSys
internal import Synchronization

/// A few threads, started when there is work for them, that perform transfers with blocking calls. Those beyond the first `lasting` end when they have had
/// nothing to do for a while.
///
/// The owner calls `enqueue`, `kick`, `next` and `stop`. A transfer in the table belongs to the pool from `enqueue` until `next` returns its index.
final class WorkerPool: Sendable {
    private struct State {
        var jobs: IndexQueue
        var finished: IndexQueue
        var results: [Int32]
        /// Indices of sleeping workers, the most recent last: its stack and caches are warm.
        var idle: [Int] = []
        /// Workers that were woken or started and have not looked for work yet.
        var coming = 0
        /// By worker; nil where none was started yet.
        var threads: [OSThread?]
        /// Workers that may be started, the next one last: those that never were, and those that have ended.
        var vacant: [Int]
        var isStopping = false
    }

    private let image: ImageFile
    private let transfers: TransferTable
    private let completion: EventFD
    private let name: String
    private let limit: Int
    private let state: Mutex<State>
    /// Whether there are finished ones: for a look without the lock.
    private let finished = Atomic<Bool>(false)
    /// One a worker: 1 when it is to look for work.
    private let wake: [WaitWord]
    private static let idleNanoseconds: Int64 = 1_000_000_000
    static let lasting = 4

    init(_ image: ImageFile, _ transfers: TransferTable, _ completion: EventFD, name: String, limit: Int) {
        self.image = image
        self.transfers = transfers
        self.completion = completion
        self.name = name
        self.limit = limit
        wake = (0..<limit).map { _ in WaitWord() }
        let queue = IndexQueue(capacity: transfers.capacity)
        var state = State(
            jobs: queue, finished: queue, results: Array(repeating: 0, count: transfers.capacity), threads: Array(repeating: nil, count: limit),
            vacant: Array((0..<limit).reversed()))
        state.idle.reserveCapacity(limit)
        self.state = Mutex(state)
    }

    /// Takes the transfer at `index`. No worker is woken before `kick`, though one that is busy may take it.
    func enqueue(_ index: Int) {
        state.withLock { $0.jobs.push(index) }
    }

    private enum KickStep { case done, again, wake(Int), runHere }

    /// Wakes or starts workers, one a job at most.
    func kick() {
        while true {
            switch state.withLock({ kickStep(&$0) }) {
            case .done: return
            case .again: continue
            case .wake(let worker):
                wake[worker].store(1)
                wake[worker].wakeAll()
            case .runHere:
                var bounce = BounceBuffer()
                while runOne(&bounce) {}
                return
            }
        }
    }

    private func kickStep(_ state: inout State) -> KickStep {
        guard state.jobs.count > state.coming else { return .done }
        if let worker = state.idle.popLast() {
            state.coming &+= 1
            return .wake(worker)
        }
        guard let worker = state.vacant.popLast() else { return .done }
        do {
            // The stack takes memory as it is touched, about 8 KiB.
            state.threads[worker] = try OSThread.start(name: name, stackSize: 64 << 10) { [self] in work(worker) }
            state.coming &+= 1
            return .again
        } catch {
            // A host at its limit of threads makes I/O slow, not stuck: without any worker the owner does the work.
            state.vacant.append(worker)
            return state.vacant.count == limit ? .runHere : .done
        }
    }

    /// Threads that there are.
    var threadCount: Int { state.withLock { limit - $0.vacant.count } }

    var hasFinished: Bool { finished.load(ordering: .relaxed) }

    /// A transfer that is finished, and its result.
    func next() -> (index: Int, result: Int32)? {
        guard hasFinished else { return nil }
        return state.withLock { state in
            guard let index = state.finished.pop() else { return nil }
            if state.finished.count == 0 { finished.store(false, ordering: .relaxed) }
            return (index, state.results[index])
        }
    }

    /// Ends the workers after the jobs that they have. The owner has drained before, so none is lost.
    func stop() {
        let threads = state.withLock { state in
            state.isStopping = true
            state.idle.removeAll(keepingCapacity: true)
            return state.threads
        }
        for word in wake {
            word.store(1)
            word.wakeAll()
        }
        for thread in threads { thread?.join() }
        state.withLock { $0.threads = [] }
    }

    private enum WorkStep { case again, sleep, stop }

    private func work(_ worker: Int) {
        var bounce = BounceBuffer()
        state.withLock { $0.coming &-= 1 }
        while true {
            if runOne(&bounce) { continue }
            let step: WorkStep = state.withLock { state in
                if state.jobs.count > 0 { return .again }
                if state.isStopping { return .stop }
                wake[worker].store(0)
                state.idle.append(worker)
                return .sleep
            }
            switch step {
            case .again: continue
            case .sleep: if !sleep(worker, &bounce) { return }
            case .stop: return
            }
        }
    }

    /// False when the worker is to end.
    private func sleep(_ worker: Int, _ bounce: inout BounceBuffer) -> Bool {
        wake[worker].wait(while: 0, nanoseconds: Self.idleNanoseconds)
        if wake[worker].value == 0 {
            bounce.release()
            if worker >= Self.lasting, state.withLock({ leave(worker, &$0) }) { return false }
        }
        while wake[worker].value == 0 { wake[worker].wait(while: 0) }
        state.withLock { $0.coming &-= 1 }
        return true
    }

    /// False when somebody is about to wake the worker.
    private func leave(_ worker: Int, _ state: inout State) -> Bool {
        guard let place = state.idle.firstIndex(of: worker) else { return false }
        state.idle.remove(at: place)
        // Whoever starts the next one in its place lets go of the thread, which does nothing more than return. `stop` joins it.
        state.vacant.append(worker)
        return true
    }

    /// Performs one job, if there is one.
    private func runOne(_ bounce: inout BounceBuffer) -> Bool {
        guard let index = state.withLock({ $0.jobs.pop() }) else { return false }
        let result = image.perform(&transfers[index], &bounce)
        let isFirst = state.withLock { state in
            state.results[index] = result
            state.finished.push(index)
            finished.store(true, ordering: .relaxed)
            return state.finished.count == 1
        }
        // The owner empties the queue once it was signalled: only the first entry has to wake it.
        if isFirst { completion.signal() }
        return true
    }
}
