/** The page: it shows what the coordinator tells, and decides nothing. */
import { render } from 'preact';
import './style.css';
import { App } from './app.tsx';

const root = document.getElementById('page');
if (root !== null) render(<App />, root);
